package resource

// Shown reads pages of resources, from behind a name on, until there is something to show, so that no page but the last
// is empty. It returns what show makes of the last page read, which show may change, and the name to go on behind, ""
// when that was the end. The errors are those of page and show.
func Shown[T any](after string, page func(after string) ([]Resource, bool, error), show func([]Resource) ([]T, error)) (shown []T, next string, err error) {
	for {
		held, more, err := page(after)
		if err != nil {
			return nil, "", err
		}
		next = ""
		if more && len(held) > 0 {
			next = held[len(held)-1].Metadata.Name
		}
		if shown, err = show(held); err != nil {
			return nil, "", err
		}
		if next == "" || len(shown) > 0 {
			return shown, next, nil
		}
		after = next
	}
}
