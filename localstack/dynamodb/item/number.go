package item

import (
	"math/big"
	"strconv"
	"strings"
)

// The limits of numbers: 38 significant digits, magnitudes from 1E-130 to 9.99…E+125.
const (
	maxDigits   = 38
	maxExponent = 126  // of 0.ddd × 10^e
	minExponent = -129 // of 0.ddd × 10^e
	textLimit   = 1 << 10
)

// decimal is a number as sign, digits without leading or trailing zeros, and the exponent of 0.digits × 10^exp.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

// ParseNumber brings a number into the canonical form in which DynamoDB answers it.
func ParseNumber(text string) (string, error) {
	d, err := parseDecimal(text)
	if err != nil {
		return "", err
	}
	return d.String(), nil
}

func parseDecimal(text string) (decimal, error) {
	if text == "" || len(text) > textLimit {
		return decimal{}, notNumeric(text)
	}
	rest, d := text, decimal{}
	if rest[0] == '-' || rest[0] == '+' {
		d.negative, rest = rest[0] == '-', rest[1:]
	}
	mantissa, exponent := rest, 0
	if at := strings.IndexAny(rest, "eE"); at >= 0 {
		mantissa = rest[:at]
		digits := strings.TrimPrefix(strings.TrimPrefix(rest[at+1:], "+"), "-")
		e, err := strconv.Atoi(rest[at+1:])
		if err != nil || !allDigits(digits) || e > 1<<20 || e < -1<<20 {
			return decimal{}, notNumeric(text)
		}
		exponent = e
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole+fraction == "" || !allDigits(whole) && whole != "" || !allDigits(fraction) && fraction != "" {
		return decimal{}, notNumeric(text)
	}
	d.digits, d.exp = whole+fraction, len(whole)+exponent
	d.trim()
	return d, d.check()
}

func notNumeric(text string) error {
	if text == "" || len(text) > textLimit {
		return Invalid("The parameter cannot be converted to a numeric value")
	}
	return Invalid("The parameter cannot be converted to a numeric value: " + text)
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// trim drops zeros that mean nothing.
func (d *decimal) trim() {
	short := strings.TrimLeft(d.digits, "0")
	d.exp -= len(d.digits) - len(short)
	d.digits = strings.TrimRight(short, "0")
	if d.digits == "" {
		*d = decimal{}
	}
}

func (d *decimal) check() error {
	switch {
	case d.digits == "":
		return nil
	case len(d.digits) > maxDigits:
		return Invalid("Attempting to store more than 38 significant digits in a Number")
	case d.exp > maxExponent:
		return Invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case d.exp < minExponent:
		return Invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return nil
}

// String writes the number without an exponent.
func (d decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	sign := ""
	if d.negative {
		sign = "-"
	}
	switch {
	case d.exp <= 0:
		return sign + "0." + strings.Repeat("0", -d.exp) + d.digits
	case d.exp >= len(d.digits):
		return sign + d.digits + strings.Repeat("0", d.exp-len(d.digits))
	}
	return sign + d.digits[:d.exp] + "." + d.digits[d.exp:]
}

// mustDecimal reads a canonical number; what isn't one counts as zero.
func mustDecimal(canonical string) decimal {
	d, err := parseDecimal(canonical)
	if err != nil {
		return decimal{}
	}
	return d
}

// Add is a+b of two canonical numbers; Sub is a-b.
func Add(a, b string) (string, error) { return sum(mustDecimal(a), mustDecimal(b)) }

// Sub is a-b of two canonical numbers.
func Sub(a, b string) (string, error) {
	other := mustDecimal(b)
	other.negative = !other.negative
	return sum(mustDecimal(a), other)
}

func sum(a, b decimal) (string, error) {
	scale := min(a.exp-len(a.digits), b.exp-len(b.digits))
	total := new(big.Int).Add(a.scaled(scale), b.scaled(scale))
	d := decimal{negative: total.Sign() < 0, digits: new(big.Int).Abs(total).String()}
	d.exp = len(d.digits) + scale
	d.trim()
	if err := d.check(); err != nil {
		return "", err
	}
	return d.String(), nil
}

// scaled is the number as a multiple of 10^scale.
func (d decimal) scaled(scale int) *big.Int {
	n := new(big.Int)
	if d.digits == "" {
		return n
	}
	n.SetString(d.digits+strings.Repeat("0", d.exp-len(d.digits)-scale), 10)
	if d.negative {
		n.Neg(n)
	}
	return n
}

// compareNumbers orders two canonical numbers by value.
func compareNumbers(a, b string) int {
	x, y := mustDecimal(a), mustDecimal(b)
	return strings.Compare(string(x.sortable(nil)), string(y.sortable(nil)))
}

// sortable appends bytes that sort as the numbers do: sign, exponent, digits; all flipped below zero.
func (d decimal) sortable(to []byte) []byte {
	if d.digits == "" {
		return append(to, 0x80)
	}
	body := append([]byte{0xC0, byte((d.exp - minExponent) & 0xFF)}, d.digits...) // between 0 and 255
	if !d.negative {
		return append(to, body...)
	}
	for i := range body {
		body[i] = ^body[i]
	}
	return append(append(to, body...), 0xFF)
}
