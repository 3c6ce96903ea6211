package statement

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stile-dev/stile/pkg/fault"
)

// tokens splits SQL, without blanks and comments, and fails where a text or comment has no end, where parentheses don't match, or
// where there is something that no SQL has.
func tokens(sql string) ([]token, error) {
	if !utf8.ValidString(sql) {
		return nil, bad("the SQL is not UTF-8", "save it as UTF-8")
	}
	var all []token
	depth := 0
	for at := 0; at < len(sql); {
		length, kept := scan(sql[at:])
		if length == 0 {
			return nil, unended(sql, at)
		}
		if kept {
			text := sql[at : at+length]
			switch text {
			case "(":
				depth++
			case ")":
				depth--
			}
			if depth < 0 {
				return nil, fault.Newf(fault.BadInput, "remove it, or open one before it", "a parenthesis closes at %s that none has opened", place(sql, at))
			}
			all = append(all, token{text, at})
		}
		at += length
	}
	if depth != 0 {
		return nil, bad("a parenthesis is open at the end", "close it")
	}
	return all, nil
}

// scan returns how many bytes the first token, blank or comment has, 0 when it has no end, and whether it is a token.
func scan(sql string) (length int, kept bool) {
	r, size := utf8.DecodeRuneInString(sql)
	switch {
	case unicode.IsSpace(r):
		return size, false
	case strings.HasPrefix(sql, "--"):
		if end := strings.IndexAny(sql, "\r\n"); end >= 0 {
			return end, false
		}
		return len(sql), false
	case strings.HasPrefix(sql, "/*"):
		return behind(sql, 2, "*/"), false
	case r == '\'' || r == '"':
		return quoted(sql, string(r)), true
	case r == '\x00' || r == '`':
		return 0, false
	case letter(r):
		end := strings.IndexFunc(sql, func(r rune) bool { return !letter(r) })
		if end < 0 {
			end = len(sql)
		}
		return end, true
	}
	return size, true
}

func letter(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// behind is where a mark ends that is looked for from a place on; 0 without one.
func behind(sql string, from int, mark string) int {
	n := strings.Index(sql[from:], mark)
	if n < 0 {
		return 0
	}
	return from + n + len(mark)
}

// quoted is where a quoted text ends, in which a doubled quote is one of its characters; 0 without an end.
func quoted(sql, quote string) int {
	for end := 1; ; end++ {
		if end = behind(sql, end, quote); end == 0 || !strings.HasPrefix(sql[end:], quote) {
			return end
		}
	}
}

// place says where a byte is, as engines do.
func place(sql string, at int) string {
	before := sql[:at]
	return fmt.Sprintf("line %d:%d", strings.Count(before, "\n")+1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])+1)
}

func unended(sql string, at int) error {
	switch sql[at] {
	case '\x00', '`':
		return fault.Newf(fault.BadInput, "put names into double quotes and text into single ones", "SQL has no %.8q, which is at %s", sql[at:at+1], place(sql, at))
	case '/':
		return fault.Newf(fault.BadInput, "end it with */", "the comment at %s has no end", place(sql, at))
	}
	return fault.Newf(fault.BadInput, "close the quote", "what is quoted at %s has no end", place(sql, at))
}
