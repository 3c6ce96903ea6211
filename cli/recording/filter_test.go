package recording_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stile-dev/stile/cli/recording"
)

// filtered is what a terminal is told, when the text comes at once and when it comes a byte or character at a time.
func filtered(t testing.TB, s string) string {
	t.Helper()
	var whole, parts bytes.Buffer
	if err := recording.NewFilter(&whole).WriteString(s); err != nil {
		t.Fatal(err)
	}
	f := recording.NewFilter(&parts)
	for _, r := range s {
		if err := f.WriteString(string(r)); err != nil {
			t.Fatal(err)
		}
	}
	if whole.String() != parts.String() {
		t.Errorf("%q is %q at once and %q in parts", s, whole.String(), parts.String())
	}
	return whole.String()
}

func TestSec_S52_ARecordingGivesATerminalNoOrderButToShow(t *testing.T) {
	for in, want := range map[string]string{
		"plain 😀\r\n":                      "plain 😀\r\n",
		"\x1b[1;31mred\x1b[0m":             "\x1b[1;31mred\x1b[0m",
		"\x1b[38;2;1;2;3mrgb":              "\x1b[38;2;1;2;3mrgb",
		"\x1b[2J\x1b[H\x1b[10;20H\x1b[K":   "\x1b[2J\x1b[H\x1b[10;20H\x1b[K",
		"\x1b[?1049h\x1b[?25l":             "\x1b[?1049h\x1b[?25l",
		"\x1b(0lqk\x1b(B":                  "\x1b(0lqk\x1b(B",
		"\x1b[?25;2004;1000h":              "\x1b[?25h",
		"\x1b[?2004hx":                     "x",
		"\x1b[?1000;1006h":                 "",
		"\x1b[?1h\x1b=":                    "",  // keys
		"\x1b[3g\x1bHx":                    "x", // tabulators
		"\x1b[?12l\x1b[?25h":               "\x1b[?25h",
		"a\x1b]0;title\x07b":               "ab",
		"a\x1b]52;c;cm0gLXJm\x07b":         "ab",
		"a\x1b]52;c;cm0gLXJm\x1b\\b":       "ab",
		"a\x1b]8;;https://evil/\x1b\\link": "alink",
		"a\u009d0;title\x07b":              "ab",
		"a\x1bP$qm\x1b\\b":                 "ab", // DECRQSS
		"a\x1b_Gi=1;AAAA\x1b\\b":           "ab",
		"a\x1b^pm\x1b\\b":                  "ab",
		"a\x1bXsos\x1b\\b":                 "ab",
		"\x1b[c\x1b[0c\x1b[>c\x1b[=c\x1bZ": "", // DA
		"\x1b[5n\x1b[6n\x1b[?6n":           "", // DSR
		"\x1b[?25$p":                       "", // DECRQM
		"\x1b[21t\x1b[8;9;9t\x1b[x":        "",
		"\x1b[>4;2m\x1b[?4m":               "", // modifyOtherKeys
		"\x1b[>1u\x1b[?u":                  "", // keys again
		"\u009b6n":                         "",
		"\u009b31mred":                     "\x1b[31mred",
		"x\x1b[999999999b":                 "x",
		"\x05\x07\x00":                     "", // ENQ answers
		"\x1b[3\x186nx":                    "6nx",
		"\x1b[" + strings.Repeat("1", 100): strings.Repeat("1", 36),
		"\x1b[31":                          "",
		"\x1b\x1b[6n":                      "",
		"a\x1b]0;open":                     "a",
		"a\x1b]0;esc\x1b[31mred":           "a\x1b[31mred",
	} {
		if got := filtered(t, in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestAStringWithoutAnEndHidesOnlySoMuch(t *testing.T) {
	got := filtered(t, "\x1b]0;"+strings.Repeat("x", 1<<20)+"rm -rf /")
	if !strings.HasSuffix(got, "rm -rf /") {
		t.Errorf("what follows is hidden: %d bytes are left", len(got))
	}
}

// allowed is the only form in which an order may reach a terminal.
var allowed = regexp.MustCompile(`^(?:[^\x00-\x1f\x7f\x{80}-\x{9f}]|[\x08-\x0f]|\x1b[78DEM]|\x1b[()*+][0AB]|\x1b#8|\x1b\[[0-9;:]*[A-HIJKLMPSTXZ@` + "`" + `abdefrsmulh]|\x1b\[\?[0-9;]*[hlJK])*$`)

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"\x1b]52;c;AA\x07", "\x1b[?2004h", "\u009b6n", "\x1bP\x1b\\", "\x1bc", "\x1b[!p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "\uFFFD")
		if got := filtered(t, s); !allowed.MatchString(got) {
			t.Errorf("%q gives the terminal %q", s, got)
		}
	})
}
