package admin

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/resource"
)

// pictures adds to a change's event the resource before and after it, as far as the event has room; nil is none. Their JSON has
// no secrets: of a token's there is only a hash, which is not part of the resource. One that is cut ends anywhere, and its
// SHA-256 is that of the whole, which is returned to be kept elsewhere.
func pictures(e *audit.Event, before, after *resource.Resource) (cut []string, err error) {
	all, names := map[string]string{}, []string(nil)
	for name, r := range map[string]*resource.Resource{"before": before, "after": after} {
		if r == nil {
			continue
		}
		text, err := picture(*r)
		if err != nil {
			return nil, err
		}
		all[name], names = text, append(names, name)
	}
	// What is small leaves its room to what isn't.
	sort.Slice(names, func(i, j int) bool { return written(all[names[i]]) < written(all[names[j]]) })
	for _, name := range names { // room for both sums, so that a picture can't take what the other's needs
		e.Data[name], e.Data[name+"_sha256"] = "", strings.Repeat("0", 2*sha256.Size)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("writing the event of a change: %w", err)
	}
	room := max(0, audit.MaxSize-len(b))
	for i, name := range names {
		text := all[name]
		short := fitting(text, room/(len(names)-i))
		room -= written(short)
		if e.Data[name] = short; short != text {
			e.Data[name+"_sha256"] = audit.Sum(text)
			cut = append(cut, text)
			continue
		}
		delete(e.Data, name+"_sha256")
	}
	return cut, nil
}

// picture is a resource as JSON, of which what is stored is the spec.
func picture(r resource.Resource) (string, error) {
	spec, err := r.SpecJSON()
	if err != nil {
		return "", err
	}
	metadata, err := json.Marshal(r.Metadata)
	if err != nil {
		return "", fmt.Errorf("writing %s %q: %w", r.Kind, r.Metadata.Name, err)
	}
	return fmt.Sprintf(`{"metadata":%s,"spec":%s}`, metadata, spec), nil
}

// written is how many bytes a text takes within JSON, without its quotes.
func written(text string) int {
	b, err := json.Marshal(text)
	if err != nil {
		return audit.MaxSize
	}
	return len(b) - len(`""`)
}

// fitting is the longest beginning of a text that takes at most so many bytes within JSON, and ends with a whole character.
func fitting(text string, most int) string {
	if written(text) <= most {
		return text
	}
	whole := func(n int) string { return strings.ToValidUTF8(text[:n], "") }
	n := sort.Search(min(len(text), most+1), func(n int) bool { return written(whole(n)) > most })
	return whole(max(0, n-1))
}
