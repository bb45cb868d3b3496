package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// authority signs what the gateway and its clients show.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
	server      pair
}

// ofTheMesh is what istiod calls the certificate that it gives every pod.
const ofTheMesh = "default"

type pair struct{ certificate, key []byte }

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(1, "authority")
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	made := &authority{certificate: parsed, key: key, pem: encode("CERTIFICATE", der)}
	made.server, err = made.sign(certificate(2, "gateway"))
	return made, err
}

func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(240 * time.Hour),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:              []string{name},
	}
}

func (a *authority) sign(template *x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return pair{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	return pair{encode("CERTIFICATE", der), encode("PRIVATE KEY", secret)}, err
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// clients writes a certificate and key per identity, and one for upstreams.
func (a *authority) clients(folder string, identities []string) error {
	for number, identity := range identities {
		client, err := a.named(int64(10+number), identity)
		if err != nil {
			return err
		}
		if err := client.write(folder, fmt.Sprintf("client-%d", number)); err != nil {
			return err
		}
	}
	return a.server.write(folder, "server")
}

func (p pair) write(folder, name string) error {
	for ending, data := range map[string][]byte{"pem": p.certificate, "key": p.key} {
		if err := os.WriteFile(filepath.Join(folder, name+"."+ending), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// named signs a certificate with a URI of the mesh.
func (a *authority) named(serial int64, identity string) (pair, error) {
	uri, err := url.Parse(identity)
	if err != nil {
		return pair{}, err
	}
	template := certificate(serial, "client")
	template.URIs = []*url.URL{uri}
	template.DNSNames = nil
	return a.sign(template)
}

// secrets puts certificates in the place of names that istiod would be asked for.
func (v view) secrets(socket *core.TransportSocket) error {
	typed := socket.GetTypedConfig()
	if typed == nil {
		return nil
	}
	var common *tls.CommonTlsContext
	var context proto.Message
	switch {
	case typed.MessageIs(&tls.DownstreamTlsContext{}):
		downstream := &tls.DownstreamTlsContext{}
		if err := typed.UnmarshalTo(downstream); err != nil {
			return err
		}
		common, context = downstream.CommonTlsContext, downstream
	case typed.MessageIs(&tls.UpstreamTlsContext{}):
		upstream := &tls.UpstreamTlsContext{}
		if err := typed.UnmarshalTo(upstream); err != nil {
			return err
		}
		common, context = upstream.CommonTlsContext, upstream
	}
	if common == nil {
		return nil
	}
	if len(common.TlsCertificateSdsSecretConfigs) > 0 {
		shown := v.authority.server
		// What clients of Gateways see has a name of its own.
		if name := common.TlsCertificateSdsSecretConfigs[0].Name; name == ofTheMesh && v.own.key != nil {
			shown = v.own
		}
		common.TlsCertificateSdsSecretConfigs = nil
		common.TlsCertificates = []*tls.TlsCertificate{{
			CertificateChain: inline(shown.certificate),
			PrivateKey:       inline(shown.key),
		}}
	}
	var validation *tls.CertificateValidationContext
	switch kind := common.ValidationContextType.(type) {
	case *tls.CommonTlsContext_CombinedValidationContext:
		validation = kind.CombinedValidationContext.DefaultValidationContext
		if validation == nil {
			validation = &tls.CertificateValidationContext{}
		}
	case *tls.CommonTlsContext_ValidationContextSdsSecretConfig:
		validation = &tls.CertificateValidationContext{}
	}
	if validation != nil {
		validation.TrustedCa = inline(v.authority.pem)
		common.ValidationContextType = &tls.CommonTlsContext_ValidationContext{ValidationContext: validation}
	}
	packed, err := anypb.New(context)
	if err != nil {
		return err
	}
	socket.ConfigType = &core.TransportSocket_TypedConfig{TypedConfig: packed}
	return nil
}

func inline(data []byte) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: data}}
}
