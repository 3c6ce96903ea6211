// Package publication makes the signed documents: publish compiles the policy and stamps the revocations,
// rotate makes the trust document. Both read their inputs themselves, take no document from anyone, and move
// the head only upward; any number of concurrent runs end in the same state.
//
// It doesn't know DynamoDB, S3 or KMS. Its entry points are [NewPublisher] and [NewRotator].
package publication
