package cmd

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/pkg/fault"
)

// options are what -o, -t and -T say.
type options struct {
	user    string
	timeout time.Duration
	tty     int // -1 never, 0 as usual, 1 asked for, 2 forced
	set     [][2]string
	send    []string
}

// option reads one OpenSSH option into o, or says why its value is wrong.
type option func(o *options, value string) string

// known are the options of ssh_config(5) that mean the same here. What isn't here is refused: an option
// that is silently dropped, such as a port forwarding, is worse than none.
var known = map[string]option{
	"User": func(o *options, v string) string {
		if v == "" {
			return "takes a login"
		}
		o.user = v
		return ""
	},
	"ConnectTimeout": func(o *options, v string) string {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 3600 {
			return "takes a number of seconds from 1 to 3600"
		}
		o.timeout = time.Duration(n) * time.Second
		return ""
	},
	"RequestTTY": func(o *options, v string) string {
		way, ok := map[string]int{"no": -1, "auto": 0, "yes": 1, "force": 2}[strings.ToLower(v)]
		if !ok {
			return "takes no, yes, force or auto"
		}
		o.tty = way
		return ""
	},
	"SetEnv": func(o *options, v string) string {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return "takes NAME=VALUE"
		}
		o.set = append(o.set, [2]string{name, value})
		return ""
	},
	"SendEnv": func(o *options, v string) string {
		o.send = append(o.send, strings.Fields(v)...)
		return ""
	},
	"BatchMode": func(_ *options, v string) string {
		if !slices.Contains([]string{"yes", "no"}, strings.ToLower(v)) {
			return "takes yes or no" // we never ask anything
		}
		return ""
	},
}

// optionFlag is a flag that adds to the options, so that the first of two counts, whichever way they are written.
type optionFlag struct {
	list   *[]string
	before string // of its value
}

// Set implements pflag.Value.
func (f optionFlag) Set(v string) error {
	*f.list = append(*f.list, f.before+v)
	return nil
}

// String implements pflag.Value.
func (f optionFlag) String() string { return "" }

// Type implements pflag.Value.
func (f optionFlag) Type() string { return "string" }

// sshFlags adds the flags of ssh and returns a function that reads them.
func sshFlags(c *cobra.Command) func() (options, error) {
	var tty int
	var noTTY bool
	var opts []string
	c.Flags().SetInterspersed(false)
	c.Flags().CountVarP(&tty, "tty", "t", "give the command a terminal; repeat it (-tt) to do so even without a local one")
	c.Flags().BoolVarP(&noTTY, "no-tty", "T", false, "don't give the command a terminal")
	c.Flags().VarP(optionFlag{&opts, ""}, "option", "o", "an OpenSSH option, such as ConnectTimeout=5")
	c.Flags().VarP(optionFlag{&opts, "User="}, "login", "l", "the login on the node")
	return func() (options, error) {
		o, err := parseOptions(opts)
		if tty > 0 {
			o.tty = tty
		}
		if noTTY {
			o.tty = -1
		}
		return o, err
	}
}

func optionNames() []string {
	var out []string
	for name := range known {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// parseOptions reads -o Name=Value or "Name Value", names in any case, as OpenSSH does. The first value of a
// name counts, except for SetEnv and SendEnv, which add up.
func parseOptions(list []string) (options, error) {
	var o options
	seen := map[string]bool{}
	for _, text := range list {
		name, value, _ := strings.Cut(strings.Replace(text, " ", "=", 1), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		i := slices.IndexFunc(optionNames(), func(n string) bool { return strings.EqualFold(n, name) })
		if i < 0 {
			return o, fault.Newf(fault.BadInput, "use one of: "+strings.Join(optionNames(), ", "), "the SSH option %q is not supported", name)
		}
		name = optionNames()[i]
		if seen[name] && name != "SetEnv" && name != "SendEnv" {
			continue
		}
		seen[name] = true
		if wrong := known[name](&o, value); wrong != "" {
			return o, fault.Newf(fault.BadInput, "see: man ssh_config", "the SSH option %s %s, not %q", name, wrong, value)
		}
	}
	return o, nil
}

// environment is what is offered to the node: what the options name, and the locale. TERM goes with the terminal.
func (o options) environment(getenv func(string) string) [][2]string {
	out := slices.Clone(o.set)
	for _, name := range append([]string{"LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_COLLATE", "LC_NUMERIC", "LC_TIME"}, o.send...) {
		if v := getenv(name); v != "" {
			out = append(out, [2]string{name, v})
		}
	}
	return out
}
