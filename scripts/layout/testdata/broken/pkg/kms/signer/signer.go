// Package signer signs.
package signer
