package main

import (
	"regexp"
	"strings"
)

// literalForm is what a parameter may be: a text, a number, a boolean, NULL, or a date or time.
var literalForm = regexp.MustCompile(`(?is)^(?:(?:DATE|TIMESTAMP|TIME)\s*)?'(?:[^'\x00]|'')*'$|^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:E[+-]?[0-9]+)?$|^(?:TRUE|FALSE|NULL)$`)

// piece finds what a ? may stand in without being a parameter: texts, quoted names and comments.
var piece = regexp.MustCompile(`(?s)'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\?`)

// place puts literals where ? is, in order. There have to be as many of the ones as of the others.
func place(query string, literals []string) (string, error) {
	used := 0
	out := piece.ReplaceAllStringFunc(query, func(found string) string {
		if found != "?" {
			return found
		}
		if used++; used > len(literals) {
			return found
		}
		return " " + strings.TrimSpace(literals[used-1]) + " "
	})
	if used != len(literals) {
		return "", refuse("INVALID_PARAMETER_USAGE: Incorrect number of parameters: expected %d but found %d", used, len(literals))
	}
	for i, text := range literals {
		if !literalForm.MatchString(strings.TrimSpace(text)) {
			return "", refuse("INVALID_PARAMETER_USAGE: parameter %d is no literal: write a text as 'text', with each ' in it twice, or a number, TRUE, FALSE, NULL, DATE '…' or TIMESTAMP '…'", i+1)
		}
	}
	return out, nil
}
