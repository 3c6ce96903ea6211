package signature

// For the RFC's vectors, which cover other components than ours.
var (
	SignatureBase = signatureBase
	VerifyRaw     = verifyRaw
	RawSignature  = rawSignature
	ContentDigest = contentDigest
)
