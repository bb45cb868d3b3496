// What oauth2-proxy, Argo CD and most programs in Go log in with: coreos/go-oidc over x/oauth2.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const callback = "http://127.0.0.1:9/callback"

// ask is what an application has: the endpoints and the keys of one issuer, kept from its start on.
type ask struct {
	context  context.Context
	provider *oidc.Provider
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
	browser  *http.Client
}

func main() {
	// The second argument is where seconds pass for the provider.
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(issuer, clock string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	app, err := discover(ctx, issuer, "machine", "secret-of-machine")
	if err != nil {
		return err
	}
	token, idToken, err := app.login()
	if err != nil {
		return err
	}
	fmt.Println("discovery, code with PKCE, nonce, at_hash")

	info, err := app.provider.UserInfo(ctx, app.config.TokenSource(ctx, token))
	if err != nil {
		return err
	}
	if info.Subject != idToken.Subject || info.Email != "user@example.com" || !info.EmailVerified {
		return fmt.Errorf("userinfo is about %+v", info)
	}
	fmt.Println("userinfo")

	old := token.RefreshToken
	token.Expiry = time.Now().Add(-time.Minute)
	fresh, err := app.config.TokenSource(ctx, token).Token()
	if err != nil {
		return err
	}
	if fresh.RefreshToken == old || fresh.AccessToken == token.AccessToken {
		return fmt.Errorf("nothing was renewed")
	}
	if _, err := app.verify(fresh, ""); err != nil {
		return err
	}
	fmt.Println("a token source renews by itself")

	if err := app.refusals(); err != nil {
		return err
	}
	fmt.Println("tokens of others are refused")
	return app.rotations(clock, token)
}

func discover(ctx context.Context, issuer, id, secret string) (*ask, error) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	// Redirects are followed up to the application, which is this program.
	stop := func(request *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(request.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &ask{
		context:  ctx,
		provider: provider,
		config: oauth2.Config{
			ClientID:     id,
			ClientSecret: secret,
			Endpoint:     provider.Endpoint(),
			RedirectURL:  callback,
			Scopes:       []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "profile", "email", "groups"},
		},
		verifier: provider.Verifier(&oidc.Config{ClientID: id}),
		browser:  &http.Client{Jar: jar, CheckRedirect: stop},
	}, nil
}

// login is a whole login, by form or out of the session.
func (a *ask) login() (*oauth2.Token, *oidc.IDToken, error) {
	verifier := oauth2.GenerateVerifier()
	start := a.config.AuthCodeURL("state-1", oidc.Nonce("nonce-1"), oauth2.S256ChallengeOption(verifier))
	answer, err := a.browser.Get(start)
	if err != nil {
		return nil, nil, err
	}
	answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		form := url.Values{"login": {"user@example.com"}, "password": {"12341234"}}
		answer, err = a.browser.PostForm(answer.Request.URL.String(), form)
		if err != nil {
			return nil, nil, err
		}
		answer.Body.Close()
	}
	back, err := answer.Location()
	if err != nil {
		return nil, nil, fmt.Errorf("%s from %s: %w", answer.Status, answer.Request.URL, err)
	}
	if back.Query().Get("state") != "state-1" {
		return nil, nil, fmt.Errorf("came back with %s", back)
	}
	token, err := a.config.Exchange(a.context, back.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, nil, err
	}
	idToken, err := a.verify(token, "nonce-1")
	return token, idToken, err
}

func (a *ask) verify(token *oauth2.Token, nonce string) (*oidc.IDToken, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, fmt.Errorf("no ID token")
	}
	idToken, err := a.verifier.Verify(a.context, raw)
	if err != nil {
		return nil, err
	}
	if idToken.Nonce != nonce {
		return nil, fmt.Errorf("nonce %q", idToken.Nonce)
	}
	var claims struct {
		Email  string
		Groups []string
	}
	if err := idToken.Claims(&claims); err != nil || claims.Email != "user@example.com" || len(claims.Groups) != 2 {
		return nil, fmt.Errorf("claims %+v, %v", claims, err)
	}
	return idToken, idToken.VerifyAccessToken(token.AccessToken)
}

func (a *ask) refusals() error {
	token, _, err := a.login()
	if err != nil {
		return err
	}
	raw := token.Extra("id_token").(string)
	if _, err := a.provider.Verifier(&oidc.Config{ClientID: "web"}).Verify(a.context, raw); err == nil {
		return fmt.Errorf("a token for another client was taken")
	}
	if _, err := a.verifier.Verify(a.context, raw[:len(raw)-8]+"AAAAAAAA"); err == nil {
		return fmt.Errorf("a changed token was taken")
	}
	other := oidc.NewProvider
	if _, err := other(a.context, strings.Replace(a.provider.Endpoint().TokenURL, "/token", "/", 1)); err == nil {
		return fmt.Errorf("an issuer with another name was taken")
	}
	return nil
}

// rotations: a program that runs for days keeps its verifier.
func (a *ask) rotations(clock string, first *oauth2.Token) error {
	raw := []string{first.Extra("id_token").(string)}
	seen := map[string]bool{header(raw[0]): true}
	for range 5 {
		if err := pass(clock, 2460); err != nil {
			return err
		}
		token, _, err := a.login()
		if err != nil {
			return fmt.Errorf("after %d keys: %w", len(seen), err)
		}
		latest := token.Extra("id_token").(string)
		seen[header(latest)] = true
		raw = append(raw, latest)
		// A token lives an hour of the provider, so that of the rotation before still counts.
		for _, earlier := range raw[len(raw)-2:] {
			if _, err := a.verifier.Verify(a.context, earlier); err != nil {
				return fmt.Errorf("an earlier token, after %d keys: %w", len(seen), err)
			}
		}
	}
	if len(seen) != 6 {
		return fmt.Errorf("%d keys signed: expected 6", len(seen))
	}
	if _, err := a.verifier.Verify(a.context, raw[0]); err == nil {
		return fmt.Errorf("a key was published longer than its tokens live")
	}
	fmt.Println("five rotations under one verifier")
	return nil
}

func header(token string) string {
	before, _, _ := strings.Cut(token, ".")
	return before
}

// pass waits until the rotation that is then due is done: keys are made beside the requests.
func pass(clock string, seconds int) error {
	answer, err := http.Post(fmt.Sprintf("%s?seconds=%d", clock, seconds), "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the clock says %s %s", answer.Status, said)
	}
	return nil
}
