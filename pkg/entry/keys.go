package entry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
)

// Keys are the two private keys of a credential; they are never equal.
type Keys struct {
	SSH *ecdsa.PrivateKey // proves the login to nodes
	TLS *ecdsa.PrivateKey // proves the user to the API and to proxies; never leaves this machine
}

// String keeps the keys out of any print.
func (Keys) String() string { return "[two private keys]" }

// GoString keeps the keys out of any print.
func (k Keys) GoString() string { return k.String() }

// MarshalJSON refuses: package profile alone writes keys.
func (Keys) MarshalJSON() ([]byte, error) {
	return nil, errors.New("private keys are not encoded")
}

// NewKeys makes two P-256 keys.
func NewKeys() (Keys, error) {
	var k Keys
	var err error
	if k.SSH, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return Keys{}, fmt.Errorf("generating keys: %w", err)
	}
	if k.TLS, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return Keys{}, fmt.Errorf("generating keys: %w", err)
	}
	return k, nil
}
