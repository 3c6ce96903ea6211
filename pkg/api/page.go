package api

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/stile-dev/stile/pkg/fault"
)

// MaxPage is the most that a page may hold.
const MaxPage = 1000

// Page says which part of a list is asked for.
type Page struct {
	After string // the last name of the previous page; "" is the beginning
	Limit int    // how many at most; 0 is all in one answer
}

// Page reads limit and cursor.
func (c Call) Page() (Page, error) {
	var p Page
	if text, ok := c.Query["limit"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > MaxPage || strconv.Itoa(n) != text {
			return Page{}, fault.Newf(fault.BadInput, "ask for smaller pages", "limit is a number from 1 to %d", MaxPage).
				With("limit", fmt.Sprintf("%.20q is not a number in that range", text))
		}
		p.Limit = n
	}
	text, ok := c.Query["cursor"]
	if !ok {
		return p, nil
	}
	name, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(name) == 0 || len(name) > 256 || p.Limit == 0 {
		return Page{}, fault.New(fault.BadInput, "the cursor did not come from this API", "send the previous page's next unchanged, together with limit").With("cursor", "malformed, or without limit")
	}
	p.After = string(name)
	return p, nil
}

// Cursor returns where a page ended, for the next one; "" for the last.
func Cursor(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }
