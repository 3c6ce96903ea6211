// Package proof judges what logins and joins show, as far as that takes no call: the stateless challenge, the
// binding of both keys to it, the rebuilt sts:GetCallerIdentity request and the identity in STS's answer.
// Fronts use it to refuse early, signers to decide; both run the same code. Package prover is the other side.
//
// It reads no clock, calls nothing and believes only what is signed. Its entry points are
// [Check], [Rebuild] and [ParseCaller].
package proof
