package athena

import (
	"errors"
	"strings"
)

// written is an answer as Athena leaves it in S3: every value in quotes, NULL as nothing at all, the names first.
func written(a answer) []byte {
	var b strings.Builder
	names := make([]*string, len(a.Columns))
	for i := range a.Columns {
		names[i] = &a.Columns[i].Name
	}
	line(&b, names)
	for _, r := range a.Rows {
		line(&b, r)
	}
	return []byte(b.String())
}

func line(b *strings.Builder, values []*string) {
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		if v != nil {
			b.WriteByte('"')
			b.WriteString(strings.ReplaceAll(*v, `"`, `""`))
			b.WriteByte('"')
		}
	}
	b.WriteByte('\n')
}

var errResult = errors.New("the result is not as Athena writes it")

// parsed reads what written wrote; width is the number of columns.
func parsed(raw []byte, width int) (rows [][]*string, err error) {
	rest := string(raw)
	for rest != "" {
		row := make([]*string, 0, width)
		for len(row) < width {
			var v *string
			if strings.HasPrefix(rest, `"`) {
				var b strings.Builder
				for rest = rest[1:]; ; {
					before, after, found := strings.Cut(rest, `"`)
					if !found {
						return nil, errResult
					}
					b.WriteString(before)
					if !strings.HasPrefix(after, `"`) {
						rest = after
						break
					}
					b.WriteByte('"')
					rest = after[1:]
				}
				text := b.String()
				v = &text
			}
			row = append(row, v)
			mark := byte(',')
			if len(row) == width {
				mark = '\n'
			}
			if rest == "" || rest[0] != mark {
				return nil, errResult
			}
			rest = rest[1:]
		}
		rows = append(rows, row)
	}
	return rows, nil
}
