package resource

// mostRead is how many resources are read at once to find some that may be shown.
const mostRead = 1000

// Shown lists resources after a name: what show makes of those that it says may be shown, at most limit, or all with a
// limit of 0. Next is the name of the last one shown, to go on after, "" when that was the end: nothing tells about those
// that may not be shown, and no page but the last is empty. Where many in a row are not shown, more are read at once. The
// errors are those of page and show.
func Shown[T any](
	after string, limit int, page func(after string, limit int) ([]Resource, bool, error), show func(Resource) (T, bool, error),
) (shown []T, next string, err error) {
	for read := limit; ; read = min(2*read, mostRead) {
		held, more, err := page(after, read)
		if err != nil {
			return nil, "", err
		}
		for _, r := range held {
			after = r.Metadata.Name
			one, ok, err := show(r)
			if err != nil {
				return nil, "", err
			}
			if !ok {
				continue
			}
			if limit > 0 && len(shown) == limit {
				return shown, next, nil
			}
			shown, next = append(shown, one), after
		}
		switch {
		case !more || len(held) == 0:
			return shown, "", nil
		case len(shown) > 0:
			return shown, next, nil
		}
	}
}
