package expression

import (
	_ "embed"
	"strings"
)

// reservedText is AWS's published list, one word a line:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
//
//go:embed reserved.txt
var reservedText string

var reserved = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq(reservedText) {
		words[word] = true
	}
	return words
}()

// Reserved reports whether word may not be written as an attribute name in an expression.
func Reserved(word string) bool { return reserved[strings.ToUpper(word)] }
