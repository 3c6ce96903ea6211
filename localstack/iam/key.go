package iam

import (
	"slices"
	"strings"
)

// keys is every condition key that the local AWS supplies, in lower case, with who supplies it. A policy that asks
// for another one is refused where it is read: to the reader that key would be absent from every call, which negated
// operators, Null, IfExists and ForAllValues would all take as fulfilled.
var keys = map[string]string{
	"aws:principalarn":           "the principal: of a session, its role's",
	"aws:username":               "the principal, if it is a user",
	"aws:securetransport":        "every call",
	"aws:sourceaccount":          "a call on behalf of another resource",
	"aws:sourcearn":              "a call on behalf of another resource",
	"dynamodb:leadingkeys":       "dynamodb",
	"kms:macalgorithm":           "kms",
	"kms:messagetype":            "kms",
	"kms:requestalias":           "kms",
	"kms:resourcealiases":        "kms",
	"kms:signingalgorithm":       "kms",
	"s3:if-none-match":           "s3",
	"s3:objectcreationoperation": "s3",
	"sts:externalid":             "sts",
	"aws:resourceaccount":        "every call: the resource's owner",
}

// principalARN is the key by which a statement for everybody can say who is meant.
const principalARN = "aws:principalarn"

// principalTag begins the keys of a principal's tags.
const principalTag = "aws:principaltag/"

// tagged are the beginnings of keys that end in a tag's name.
var tagged = []string{principalTag}

// supplied reports whether the local AWS supplies the key, whose name is not case-sensitive.
func supplied(key string) bool {
	key = strings.ToLower(key)
	_, ok := keys[key]
	return ok || slices.ContainsFunc(tagged, func(prefix string) bool { return strings.HasPrefix(key, prefix) && len(key) > len(prefix) })
}
