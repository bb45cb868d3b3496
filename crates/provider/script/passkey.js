"use strict";
// Asks the browser for a passkey when the form is sent, and sends what it answers.
for (const form of document.querySelectorAll("form[data-passkey]")) {
  const told = form.querySelector("[data-failed]");
  const options = JSON.parse(form.dataset.passkey);
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const credentials = (ids) => ids.map((id) => ({ type: "public-key", id: bytes(id) }));
  const fill = (name, value) => { form.elements.namedItem(name).value = text(value); };
  const ask = async () => {
    const common = { challenge: bytes(options.challenge), timeout: options.timeout };
    if (options.allow) {
      return navigator.credentials.get({ publicKey: { ...common, rpId: options.rpId, allowCredentials: credentials(options.allow), userVerification: "preferred" } });
    }
    return navigator.credentials.create({ publicKey: {
      ...common,
      rp: { id: options.rpId, name: options.rpName },
      user: { id: new TextEncoder().encode(options.user), name: options.name, displayName: options.name },
      pubKeyCredParams: options.algorithms.map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: credentials(options.exclude),
      authenticatorSelection: { userVerification: "preferred" },
      attestation: "none",
    } });
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    told.hidden = true;
    try {
      if (!window.PublicKeyCredential) throw new Error("missing");
      const found = await ask();
      const { response } = found;
      fill("id", found.rawId);
      fill("client_data", response.clientDataJSON);
      if (options.allow) {
        fill("authenticator_data", response.authenticatorData);
        fill("signature", response.signature);
      } else {
        fill("attestation", response.attestationObject);
      }
      form.submit();
    } catch (error) {
      told.textContent = error.message === "missing" ? told.dataset.missing : told.dataset.failed;
      told.hidden = false;
    }
  });
}
