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

// line is what was typed for ssh.
type line struct {
	options options
	node    string
	command string // "" for a shell
	help    bool   // is asked for; the rest was not read
}

// flagsOfSSH are the flags of ssh as they were given.
type flagsOfSSH struct {
	tty   int
	noTTY bool
	opts  []string
}

// sshFlags adds the flags of ssh, which are known once [flagsOfSSH.read] was called.
func sshFlags(c *cobra.Command) *flagsOfSSH {
	f := &flagsOfSSH{}
	c.Flags().SetInterspersed(false)
	c.Flags().CountVarP(&f.tty, "tty", "t", "give the command a terminal; repeat it (-tt) to do so even without a local one")
	c.Flags().BoolVarP(&f.noTTY, "no-tty", "T", false, "don't give the command a terminal")
	c.Flags().VarP(optionFlag{&f.opts, ""}, "option", "o", "an OpenSSH option, such as ConnectTimeout=5")
	c.Flags().VarP(optionFlag{&f.opts, "User="}, "login", "l", "the login on the node")
	return f
}

// read takes the words that are left once the flags before the node were read: [LOGIN@]NODE, and flags behind it as far
// as the first word that is none. As with OpenSSH a -- ends the flags, before the node too, and the first login counts.
func (f *flagsOfSSH) read(c *cobra.Command, args []string) (line, error) {
	login, node := split(args[0])
	if login != "" {
		f.opts = append(f.opts, "User="+login)
	}
	l, command := line{node: node}, args[1:]
	if c.Flags().ArgsLenAtDash() < 0 {
		if err := c.ParseFlags(command); err != nil {
			return l, c.FlagErrorFunc()(c, err)
		}
		if l.help, _ = c.Flags().GetBool("help"); l.help { // it fails where there is no such flag
			return l, nil
		}
		command = c.Flags().Args()
	}
	l.command = strings.Join(command, " ")
	var err error
	l.options, err = parseOptions(f.opts)
	if f.tty > 0 {
		l.options.tty = f.tty
	}
	if f.noTTY {
		l.options.tty = -1
	}
	return l, err
}

// split divides LOGIN@NODE at the last @, since a login may contain one.
func split(target string) (login, node string) {
	i := strings.LastIndexByte(target, '@')
	return target[:max(i, 0)], target[i+1:]
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
		i := strings.IndexAny(text+"=", "= ")
		name, value := strings.TrimSpace(text[:i]), strings.TrimSpace(text[min(i+1, len(text)):])
		n := slices.IndexFunc(optionNames(), func(known string) bool { return strings.EqualFold(known, name) })
		if n < 0 {
			return o, fault.Newf(fault.BadInput, "use one of: "+strings.Join(optionNames(), ", "), "the SSH option %q is not supported", name)
		}
		name = optionNames()[n]
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
