package kms

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
)

// The algorithms that are understood, one for each key spec.
const (
	ecdsaSHA256 = "ECDSA_SHA_256"
	hmacSHA256  = "HMAC_SHA_256"
	maxMessage  = 4096
)

type signInput struct {
	KeyID            string `json:"KeyId"`
	Message          []byte
	MessageType      string
	SigningAlgorithm string
	Signature        []byte // Verify
	DryRun           bool
	GrantTokens      []string
}

// prepare reads, finds, authorises and checks what Sign and Verify share, and returns the digest.
func prepare(s *Service, r *request) (signInput, *key, []byte, error) {
	var in signInput
	if err := r.read(&in); err != nil {
		return in, nil, nil, err
	}
	if in.MessageType == "" {
		in.MessageType = "RAW"
	}
	if err := in.validate(); err != nil {
		return in, nil, nil, err
	}
	k, err := s.find(r, in.KeyID)
	if err != nil {
		return in, nil, nil, err
	}
	err = s.authorize(r, k, map[string]string{"kms:SigningAlgorithm": in.SigningAlgorithm, "kms:MessageType": in.MessageType})
	if err == nil {
		err = s.usable(k)
	}
	if err == nil && k.Usage != usageSig {
		err = fail("InvalidKeyUsageException", "%s key usage is %s which is not valid for %s.", s.keyARN(k), k.Usage, r.name)
	}
	if err == nil && in.SigningAlgorithm != ecdsaSHA256 {
		err = fail("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec %s.", in.SigningAlgorithm, k.Spec)
	}
	if err == nil && in.DryRun {
		err = fail("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	}
	if err != nil {
		return in, nil, nil, err
	}
	digest, err := in.digest()
	return in, k, digest, err
}

var signingAlgorithms = map[string]bool{
	"RSASSA_PSS_SHA_256": true, "RSASSA_PSS_SHA_384": true, "RSASSA_PSS_SHA_512": true,
	"RSASSA_PKCS1_V1_5_SHA_256": true, "RSASSA_PKCS1_V1_5_SHA_384": true, "RSASSA_PKCS1_V1_5_SHA_512": true,
	ecdsaSHA256: true, "ECDSA_SHA_384": true, "ECDSA_SHA_512": true, "SM2DSA": true,
	"ED25519_SHA_512": true, "ED25519_PH_SHA_512": true, "ML_DSA_SHAKE_256": true,
}

func (in signInput) validate() error {
	switch {
	case !signingAlgorithms[in.SigningAlgorithm]:
		return fail("ValidationException", "1 validation error detected: Value '%s' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set", in.SigningAlgorithm)
	case in.MessageType != "RAW" && in.MessageType != "DIGEST":
		return fail("ValidationException", "1 validation error detected: Value '%s' at 'messageType' failed to satisfy constraint: Member must satisfy enum value set: [RAW, DIGEST]", in.MessageType)
	case len(in.Message) == 0 || len(in.Message) > maxMessage:
		return fail("ValidationException", "1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length from 1 to %d", maxMessage)
	case len(in.GrantTokens) > 0:
		return fail("ValidationException", "grant tokens are not supported here")
	}
	return nil
}

func (in signInput) digest() ([]byte, error) {
	if in.MessageType == "RAW" {
		sum := sha256.Sum256(in.Message)
		return sum[:], nil
	}
	if len(in.Message) != sha256.Size {
		return nil, fail("ValidationException", "Digest is invalid length for algorithm %s.", in.SigningAlgorithm)
	}
	return in.Message, nil
}

func sign(s *Service, r *request) (any, error) {
	in, k, digest, err := prepare(s, r)
	if err != nil {
		return nil, err
	}
	if in.Signature != nil {
		return nil, fail("ValidationException", "Sign takes no Signature")
	}
	signature, err := ecdsa.SignASN1(rand.Reader, k.signing, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return map[string]any{"KeyId": s.keyARN(k), "Signature": signature, "SigningAlgorithm": in.SigningAlgorithm}, nil
}

func verify(s *Service, r *request) (any, error) {
	in, k, digest, err := prepare(s, r)
	if err != nil {
		return nil, err
	}
	if !ecdsa.VerifyASN1(&k.signing.PublicKey, digest, in.Signature) {
		return nil, fail("KMSInvalidSignatureException", "")
	}
	return map[string]any{"KeyId": s.keyARN(k), "SignatureValid": true, "SigningAlgorithm": in.SigningAlgorithm}, nil
}

func getPublicKey(s *Service, r *request) (any, error) {
	var in struct {
		KeyID string `json:"KeyId"`
	}
	if err := r.read(&in); err != nil {
		return nil, err
	}
	k, err := s.find(r, in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(r, k, nil); err != nil {
		return nil, err
	}
	if err := s.usable(k); err != nil {
		return nil, err
	}
	if k.signing == nil {
		return nil, fail("UnsupportedOperationException", "%s is not an asymmetric key.", s.keyARN(k))
	}
	der, err := x509.MarshalPKIXPublicKey(&k.signing.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	return map[string]any{
		"KeyId": s.keyARN(k), "PublicKey": der, "KeySpec": k.Spec, "CustomerMasterKeySpec": k.Spec, "KeyUsage": k.Usage,
		"SigningAlgorithms": []string{ecdsaSHA256},
	}, nil
}

type macInput struct {
	KeyID        string `json:"KeyId"`
	Message      []byte
	MacAlgorithm string
	Mac          []byte // VerifyMac
	DryRun       bool
	GrantTokens  []string
}

func computeMac(s *Service, r *request) (macInput, *key, []byte, error) {
	var in macInput
	if err := r.read(&in); err != nil {
		return in, nil, nil, err
	}
	if len(in.Message) == 0 || len(in.Message) > maxMessage || len(in.GrantTokens) > 0 {
		return in, nil, nil, fail("ValidationException", "Message must have 1 to %d bytes, and GrantTokens are not supported here", maxMessage)
	}
	k, err := s.find(r, in.KeyID)
	if err != nil {
		return in, nil, nil, err
	}
	err = s.authorize(r, k, map[string]string{"kms:MacAlgorithm": in.MacAlgorithm})
	if err == nil {
		err = s.usable(k)
	}
	if err == nil && (k.Usage != usageMAC || in.MacAlgorithm != hmacSHA256) {
		err = fail("InvalidKeyUsageException", "%s with key spec %s and usage %s is not valid for %s with %s.", s.keyARN(k), k.Spec, k.Usage, r.name, in.MacAlgorithm)
	}
	if err == nil && in.DryRun {
		err = fail("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	}
	if err != nil {
		return in, nil, nil, err
	}
	h := hmac.New(sha256.New, k.mac)
	h.Write(in.Message)
	return in, k, h.Sum(nil), nil
}

func generateMac(s *Service, r *request) (any, error) {
	in, k, sum, err := computeMac(s, r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": s.keyARN(k), "Mac": sum, "MacAlgorithm": in.MacAlgorithm}, nil
}

func verifyMac(s *Service, r *request) (any, error) {
	in, k, sum, err := computeMac(s, r)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(sum, in.Mac) {
		return nil, fail("KMSInvalidMacException", "")
	}
	return map[string]any{"KeyId": s.keyARN(k), "MacValid": true, "MacAlgorithm": in.MacAlgorithm}, nil
}
