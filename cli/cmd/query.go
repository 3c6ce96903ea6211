package cmd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/query/named"
	"github.com/stile-dev/stile/pkg/query/statement"
	"github.com/stile-dev/stile/pkg/wire"
)

// formatCSV prints a line per row, and one of the columns' names before.
const formatCSV output.Format = "csv"

// asking is what was typed for audit query.
type asking struct {
	since, until, file string
	params             []string
	list               bool
}

func (a *app) auditQuery() *cobra.Command {
	var q asking
	c := &cobra.Command{
		Use:   "query NAME|SQL",
		Short: "Ask all audit events in SQL, or by the name of a question",
		Long: "Ask the audit lake, which keeps all events: by the name of a question (--list shows those that there are,\n" +
			"and with --format json what each parameter is, and the SQL), or in SQL of Athena's, one SELECT in quotes over the table events. It\n" +
			"has an event once, and only those that happened between --since and --until: the last seven days without them. The table period\n" +
			"has their two times, since and until. All times are in UTC.\n" +
			"The lake lags some minutes behind the audit log, from which each question adds what was received last: the column origin says lake or ledger.\n" +
			"Athena bills what a query reads. An interrupt stops the query.",
		Example: "  stile audit query --list\n  stile audit query denied --since 30d --format csv\n  stile audit query node-sessions --param node=web-1\n" +
			"  stile audit query \"SELECT type, count(*) AS n FROM events GROUP BY type ORDER BY n DESC\" --since 24h\n  stile audit query --file question.sql --since 2006-01-02 --until 2006-02-02 --format json",
		Args:              oneQuestion,
		ValidArgsFunction: completeQuestions,
	}
	c.Flags().StringVar(&q.since, "since", "", "only what happened since: 24h, 7d, 2006-01-02 (its beginning, here), '2006-01-02 15:04:05' (here), or a time as in RFC 3339; without it, 7 days before --until or now")
	c.Flags().StringVar(&q.until, "until", "", "only what happened before, written as --since")
	c.Flags().StringArrayVar(&q.params, "param", nil, "NAME=VALUE, a parameter of the question; repeat it for several")
	c.Flags().StringVar(&q.file, "file", "", "file that has the SQL; - is the standard input")
	c.Flags().BoolVar(&q.list, "list", false, "list the questions that have names")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		f := fault.New(fault.BadInput, err.Error(), "see: "+c.CommandPath()+" --help")
		if strings.Contains(err.Error(), "flag: -- ") || strings.ContainsAny(err.Error(), "\r\n") {
			f = fault.New(fault.BadInput, "a question that begins with -- is taken for an option", "write -- before it, such as: stile audit query -- \"$SQL\", or put it into a file and name that with --file")
		}
		return f
	})
	format := formatFlag(c, output.Table, output.Table, formatCSV, output.JSON)
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := format()
		if err != nil {
			return err
		}
		if err := filled(c, "since", "until", "file"); err != nil {
			return err
		}
		if q.list {
			return a.questions(f, len(args) > 0)
		}
		r, err := a.question(q, args)
		if err != nil {
			return err
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		return silence(a.answer(c.Context(), s.client, f, r))
	}
	return c
}

// oneQuestion refuses more arguments than one, as SQL without quotes is.
func oneQuestion(c *cobra.Command, args []string) error {
	if len(args) < 2 {
		return nil
	}
	return fault.Newf(fault.BadInput, "write SQL as one argument, in double quotes, and what a named question wants to know as --param NAME=VALUE", "%s was given too many arguments", c.CommandPath())
}

func completeQuestions(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	for _, q := range named.All() {
		if len(args) == 0 {
			out = append(out, cobra.CompletionWithDesc(q.Name, q.Question))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// toldParameter and toldQuestion are what programs get of a named query.
type toldParameter struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Default string `json:"default,omitempty"`
	Says    string `json:"says"`
}

type toldQuestion struct {
	Name       string          `json:"name"`
	Question   string          `json:"question"`
	Parameters []toldParameter `json:"parameters"`
	SQL        string          `json:"sql"`
}

// questions lists the named queries.
func (a *app) questions(f output.Format, asked bool) error {
	if asked {
		return fault.New(fault.BadInput, "--list asks nothing", "leave out --list to ask, or the question to list")
	}
	list, rows := []toldQuestion{}, output.Rows{Header: []string{"NAME", "PARAMETERS", "QUESTION"}}
	for _, q := range named.All() {
		told, takes := toldQuestion{Name: q.Name, Question: q.Question, Parameters: []toldParameter{}, SQL: q.SQL}, []string(nil)
		for _, p := range q.Parameters {
			told.Parameters = append(told.Parameters, toldParameter{p.Name, string(p.Kind), p.Default, p.Says})
			takes = append(takes, p.Name+"="+first(p.Default, strings.ToUpper(string(p.Kind))))
		}
		list, rows.Lines = append(list, told), append(rows.Lines, []string{q.Name, strings.Join(takes, " "), q.Question})
	}
	if f == formatCSV {
		return a.writeCSV(rows.Header, rows.Lines)
	}
	return output.Print(a.Out, f, list, rows)
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// sqlMarks are what no question in SQL does without all of: Denied or role_changes is somebody's try at a name.
const sqlMarks = " \t\r\n(*;'"

// question reads what was typed into what the API is asked.
func (a *app) question(q asking, args []string) (r wire.QueryRequest, err error) {
	if r.Since, r.Until, err = between(q.since, q.until, a.Now()); err != nil {
		return r, err
	}
	if len(args) == 1 && args[0] == "-" && q.file == "" {
		q.file, args = "-", nil
	}
	switch {
	case len(args) == 1 && q.file != "":
		return r, fault.New(fault.BadInput, "there is a question, and a file with one", "leave out one of them")
	case q.file != "":
		r.SQL, err = a.readSQL(q.file)
	case len(args) == 0 || strings.TrimSpace(args[0]) == "":
		return r, fault.New(fault.BadInput, "there is no question", "name one that stile audit query --list shows, or write SQL, such as: stile audit query \"SELECT type, count(*) FROM events GROUP BY type\"")
	case nameForm.MatchString(args[0]), !strings.ContainsAny(args[0], sqlMarks):
		r.Name = args[0]
		if _, ok := named.Find(r.Name); !ok {
			return r, fault.Newf(fault.NotFound, "ask one of the nearest: "+strings.Join(nearest(strings.ReplaceAll(strings.ToLower(r.Name), "_", "-")), ", ")+"; stile audit query --list shows all", "there is no question named %.64q", r.Name)
		}
	default:
		r.SQL = args[0]
	}
	if err != nil {
		return r, err
	}
	if r.Parameters, err = parameters(q.params); err != nil {
		return r, err
	}
	if r.Name == "" {
		if len(r.Parameters) > 0 {
			return r, fault.New(fault.BadInput, "SQL of your own takes no --param", "write the values into the SQL, text in single quotes")
		}
		_, err = statement.Compose(statement.Head{}, r.SQL, false)
		return r, err
	}
	known, _ := named.Find(r.Name)
	_, _, err = known.Bind(r.Parameters)
	return r, err
}

func parameters(list []string) (map[string]string, error) {
	var out map[string]string
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fault.Newf(fault.BadInput, "write --param NAME=VALUE", "--param doesn't take %.64q", text)
		}
		if _, twice := out[name]; twice {
			return nil, fault.Newf(fault.BadInput, "give it once", "--param %.64q is given twice", name)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// readSQL reads a file, or the standard input, no further than SQL may be long.
func (a *app) readSQL(file string) (string, error) {
	in := a.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fault.Newf(fault.BadInput, "name a file that you can read", "the SQL can't be read: %v", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, statement.MostSQL+1))
	if err != nil {
		return "", fault.Newf(fault.BadInput, "name a file that you can read", "the SQL can't be read: %v", err)
	}
	return string(b), nil
}

// nearest are the three names that differ least.
func nearest(name string) []string {
	away := map[string]int{}
	for _, q := range named.All() {
		away[q.Name] = distance(name, q.Name)
	}
	all := slices.SortedFunc(maps.Keys(away), func(a, b string) int { return 1000*(away[a]-away[b]) + strings.Compare(a, b) })
	return all[:min(3, len(all))]
}

// distance is how many letters are to be put in, taken out or replaced to make one word of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// answer asks, waits and prints. A query that is no longer waited for is stopped, since it would go on reading.
func (a *app) answer(ctx context.Context, cl *client.Client, f output.Format, r wire.QueryRequest) error {
	ctx, done := stoppable(ctx)
	defer done()
	started, err := cl.StartQuery(ctx, r)
	if err != nil {
		if ctx.Err() != nil { // the API may have had it
			a.warn("the query may have started, and goes on for at most half an hour")
		}
		return err
	}
	asked := started.Asked // by the API's clock, as the other times
	if asked.IsZero() {
		asked = a.Now()
	}
	state, err := a.await(ctx, cl, started.ID)
	if err != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookup)
		defer cancel()
		if _, stop := cl.StopQuery(last, started.ID); stop != nil {
			a.warn("the query could not be stopped, and goes on for at most half an hour")
		}
		return err
	}
	if state.State != "succeeded" {
		hint := first(state.Hint, "ask again")
		if r.Name != "" && strings.HasPrefix(hint, "correct ") { // what isn't theirs
			hint = "ask again; if it fails again, tell an administrator the reason: the SQL of " + r.Name + " is stile's"
		}
		return fault.New(fault.BadInput, "the query "+state.State+": "+first(state.Reason, "Athena gives no reason"), hint).
			Because(fmt.Errorf("query %s", state.ID))
	}
	n, err := a.found(ctx, cl, f, started.ID)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.Err, "%s, of events from %s to %s; %s read in %.1f s\n", counted(n, "row"),
		started.Since.Local().Format(time.DateTime), started.Until.Local().Format(time.DateTime), size(state.ScannedBytes), float64(state.Milliseconds)/1000)
	a.compared(started)
	a.lately(asked, started)
	return nil
}

// compared says how far it is known that the lake has what the audit log received, and what it is known to lack.
func (a *app) compared(started wire.StartedQuery) {
	if started.Compared.IsZero() {
		_, _ = fmt.Fprintln(a.Err, "The lake has not been compared with the audit log yet")
		return
	}
	_, _ = fmt.Fprintf(a.Err, "The lake was compared with the audit log until %s\n", started.Compared.Local().Format(time.DateTime))
	for n, l := range started.Lacks {
		if n == mostLacks {
			_, _ = fmt.Fprintf(a.Err, "The same is so of %s after that\n", counted(len(started.Lacks)-n, "time"))
			return
		}
		since, until := l.From.Local().Format(time.DateTime), l.To.Local().Format(time.DateTime)
		_, _ = fmt.Fprintf(a.Err, "It lacks some of what was received from %s to %s, which is sent again until it is there. See it with: stile audit ls --since '%s' --until '%s'\n", since, until, since, until)
	}
}

// mostLacks is how many times are told of which the lake lacks something.
const mostLacks = 5

// lag is how far the lake is behind the ledger when nothing is wrong, and some more.
const lag = 5 * time.Minute

// lately says what an answer has of what the ledger received last, and what it may lack of that: what was too much to be added, or
// all of it where a control plane of an earlier release adds nothing.
func (a *app) lately(asked time.Time, started wire.StartedQuery) {
	from, lacks := started.Recent, asked.Add(-lag)
	if from.IsZero() {
		from = asked
	}
	if from.After(lacks) {
		since, until := lacks.Local().Format(time.DateTime), from.Add(time.Second).Local().Format(time.DateTime)
		_, _ = fmt.Fprintf(a.Err, "The lake has an event some minutes after the audit log: what was received from %s to %s may not be in this answer. See it with: stile audit ls --since '%s'\n", since, until, since)
	}
	if !started.Recent.IsZero() {
		_, _ = fmt.Fprintf(a.Err, "What the audit log received since %s was added to the lake for this answer; an event that the lake lacks has the origin ledger\n", from.Local().Format(time.DateTime))
	}
}

// Between two looks at a query, and how long it is looked for in vain: asking again would have it read once more.
const (
	lookFirst = 200 * time.Millisecond
	lookMost  = 2 * time.Second
	mostAway  = 2 * time.Minute
)

// passing are what an API answers that may answer otherwise the next time.
var passing = []fault.Code{fault.Unavailable, fault.RateLimited, fault.Unreachable}

// await waits until a query has ended, and says meanwhile how far it is to who looks at a terminal.
func (a *app) await(ctx context.Context, cl *client.Client, id string) (wire.QueryState, error) {
	shown, answered := shell.IsTerminal(a.Err), a.Now()
	for wait := lookFirst; ; wait = min(wait*3/2, lookMost) {
		s, err := cl.Query(ctx, id)
		told := err == nil
		ended := told && s.State != "queued" && s.State != "running"
		if now := a.Now(); told {
			answered = now
		} else if slices.Contains(passing, fault.From(err).Code) && ctx.Err() == nil && now.Sub(answered) < mostAway {
			err = nil
		}
		if shown {
			_, _ = fmt.Fprintf(a.Err, "\r\x1b[K")
			if !ended && told {
				_, _ = fmt.Fprintf(a.Err, "%s, %s read", escape.Text(s.State), size(s.ScannedBytes))
			}
		}
		if ended || err != nil {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// size says bytes as people do.
func size(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d bytes", n)
	}
	value, unit := float64(n)/step, 0
	for units := 4; value >= step && unit < units-1; unit++ {
		value /= step
	}
	return fmt.Sprintf("%.1f %s", value, []string{"KiB", "MiB", "GiB", "TiB"}[unit])
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
