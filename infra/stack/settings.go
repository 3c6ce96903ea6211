package stack

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/stile-dev/stile/pkg/names"
)

// Keys of the CDK's context. They are settings and no parameters because another stack consumes what they decide: a
// parameter's new value would leave that stack's template as it was, and the CDK would skip it.
const (
	settingPrefix     = "stile:"
	settingAPIURL     = settingPrefix + "api-url"
	settingGeneration = settingPrefix + "generation:" // and the purpose of a key
	settingTable      = settingPrefix + "table:"      // and the short name of a table
	settingEpoch      = settingPrefix + "epoch"
	settingFormer     = settingPrefix + "former-keys"
	settingRunbooks   = settingPrefix + "runbooks"
	settingRetention  = settingPrefix + "recordings-retention-days"
	settingLockMode   = settingPrefix + "recordings-retention-mode"
)

// settings are what a deployment changes across stacks. The zero value is a new cluster's.
type settings struct {
	apiURL      string            // under somebody's own domain; "" for API Gateway's
	generations map[string]int    // purpose of a key → 2 or more; absent for the first
	epoch       int               // in which documents are; 2 or more, 0 for the first
	former      []string          // ids of replaced keys that alarms watch on
	tables      map[string]string // table, as in its logical id → name of the table in its place; absent for the first
	runbooks    string            // URL of the folder with the runbooks; "" for this project's
	retention   retention         // of recordings
}

// restorable are the tables by their short names in settings.
var restorable = map[string]string{"state": tableState, "secrets": tableSecrets, "ledger": tableLedger, "presence": tablePresence}

// readSettings reads the settings among the CDK's context. One that isn't known is an error, since it is a typing
// mistake, and its deployment would change back what an earlier one has changed.
func readSettings(context map[string]any) (settings, error) {
	s := settings{generations: map[string]int{}, tables: map[string]string{}}
	for _, key := range sorted(context) {
		if !strings.HasPrefix(key, settingPrefix) || key == FirstKey {
			continue
		}
		if err := s.read(key, fmt.Sprint(context[key])); err != nil {
			return settings{}, fmt.Errorf("setting %s: %w", key, err)
		}
	}
	return s, errors.Join(s.distinct(), s.begun(), s.retention.check())
}

func (s *settings) read(key, value string) error {
	if key == settingAPIURL {
		s.apiURL = value
		return checkAPIURL(value)
	}
	if key == settingRunbooks {
		s.runbooks = value
		return checkRunbooks(value)
	}
	if purpose, ok := strings.CutPrefix(key, settingGeneration); ok {
		n, err := generation(purpose, value)
		s.generations[purpose] = n
		return err
	}
	if key == settingRetention {
		return s.retention.readDays(value)
	}
	if key == settingLockMode {
		return s.retention.readMode(value)
	}
	if key == settingEpoch {
		n, err := later(value, "the first epoch")
		s.epoch = n
		return err
	}
	if key == settingFormer {
		ids, err := keyIDs(value)
		s.former = ids
		return err
	}
	if short, ok := strings.CutPrefix(key, settingTable); ok {
		if restorable[short] == "" {
			return fmt.Errorf("there is no table %q; name one of %s", short, strings.Join(sorted(restorable), ", "))
		}
		s.tables[restorable[short]] = value
		return checkTableName(value)
	}
	return fmt.Errorf("there is no such setting; correct it, or remove it: %s, %s<purpose of a key>, %s<table>, %s, %s, %s, %s, %s and %s are known",
		settingAPIURL, settingGeneration, settingTable, settingEpoch, settingFormer, settingRunbooks, settingRetention, settingLockMode, FirstKey)
}

// checkAPIURL takes what a client can put a path behind.
func checkAPIURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path == "/" ||
		strings.ContainsAny(text, "?#%\\ ") || strings.HasSuffix(text, "/") || text != strings.ToLower(text) {
		return fmt.Errorf("%q must be a URL as https://api.example.com or https://api.example.com/path, in lower case and without a slash at the end", text)
	}
	return nil
}

// generation reads which of a purpose's keys signs.
func generation(purpose, value string) (int, error) {
	if purpose == names.KeyRoot {
		return 0, fmt.Errorf("the root key can't be replaced: everyone who has joined or logged in knows the cluster by it")
	}
	if !slices.ContainsFunc(keys, func(k key) bool { return k.purpose == purpose }) {
		return 0, fmt.Errorf("there is no key for %q; name one of %s", purpose, strings.Join(replaceable(), ", "))
	}
	return later(value, "the first key")
}

// later reads a number that goes up from the first, which has none. It is at most 999, so that a slip is seen.
func later(value, first string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 2 || n > 999 || strconv.Itoa(n) != value {
		return 0, fmt.Errorf("%q must be a whole number from 2 to 999; leave the setting out for %s", value, first)
	}
	return n, nil
}

func replaceable() []string {
	var out []string
	for _, k := range keys {
		if k.purpose != names.KeyRoot {
			out = append(out, k.purpose)
		}
	}
	return out
}

var keyForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// maxFormer is how many former keys fit into the pattern of a rule, of 2,048 characters, beside all else in it.
const maxFormer = 10

// keyIDs reads ids of KMS keys, separated by commas.
func keyIDs(value string) ([]string, error) {
	ids := strings.Split(value, ",")
	if len(ids) > maxFormer {
		return nil, fmt.Errorf("%d keys are more than the %d that fit into a rule; leave out those whose deletion is scheduled", len(ids), maxFormer)
	}
	slices.Sort(ids)
	for i, id := range ids {
		if !keyForm.MatchString(id) || i > 0 && ids[i-1] == id {
			return nil, fmt.Errorf("%q must be ids of KMS keys, each once, as 1234abcd-12ab-34cd-56ef-1234567890ab, with commas between them", value)
		}
	}
	return ids, nil
}

var tableForm = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

func checkTableName(name string) error {
	if !tableForm.MatchString(name) {
		return fmt.Errorf("%q can't be the name of a table: it must be 3 to 255 letters, digits, dots, hyphens and underscores", name)
	}
	return nil
}

// distinct refuses one table in place of two.
func (s settings) distinct() error {
	taken := map[string]string{}
	for _, table := range sorted(s.tables) {
		name := s.tables[table]
		if other := taken[name]; other != "" {
			return fmt.Errorf("%s and %s can't both be the table %s; name another for one of them", other, table, name)
		}
		taken[name] = table
	}
	return nil
}

// begun refuses a restored table of state in the first epoch: whoever holds newer documents would refuse its own.
func (s settings) begun() error {
	if _, restored := s.tables[tableState]; restored && s.epoch == 0 {
		return fmt.Errorf("setting %sstate: a restored state table must begin an epoch; set %s to 2, or to one more than it was",
			settingTable, settingEpoch)
	}
	return nil
}

// inEpoch is the epoch as rotate is told it.
func (s settings) inEpoch() string { return strconv.Itoa(cmp.Or(s.epoch, 1)) }

// keyID is the logical id of the key that signs for a purpose: a new generation is another resource, so that the one
// before is retained.
func (s settings) keyID(purpose string) string {
	if n := s.generations[purpose]; n > 0 {
		return keyOutput(purpose) + strconv.Itoa(n)
	}
	return keyOutput(purpose)
}

// tableID is the logical id of the resource of a table. Another name is another resource.
func (s settings) tableID(table string) string {
	name, ok := s.tables[table]
	if !ok {
		return table
	}
	sum := sha256.Sum256([]byte(name))
	return table + "Named" + hex.EncodeToString(sum[:8])
}

// changedControl says in one word what StileControl's settings are; "none" for a new cluster's.
func (s settings) changedControl() string {
	var out []string
	if s.apiURL != "" {
		out = append(out, s.apiURL)
	}
	if s.epoch > 0 {
		out = append(out, "epoch/"+s.inEpoch())
	}
	for _, id := range s.former {
		out = append(out, "former/"+id)
	}
	return cmp.Or(strings.Join(out, "+"), unchanged)
}

// changed says in one word what StileData's settings are; "none" for a new cluster's.
func (s settings) changed() string {
	var out []string
	for _, purpose := range sorted(s.generations) {
		out = append(out, purpose+"/"+strconv.Itoa(s.generations[purpose]))
	}
	for _, short := range sorted(restorable) {
		if name, ok := s.tables[restorable[short]]; ok {
			out = append(out, short+"/"+name)
		}
	}
	if s.retention.lock {
		out = append(out, s.retention.String())
	}
	if out == nil {
		return unchanged
	}
	return strings.Join(out, "+")
}

const unchanged = "none"

// confirm declares the parameter Settings, which takes no value but the settings that the template was made with.
// The CDK keeps a parameter's previous value unless it is given another, so a deployment with other settings is refused
// before it changes anything, until somebody confirms them. Otherwise a forgotten setting would make a third key, or an
// empty table.
func confirm(s awscdk.Stack, value string) {
	awscdk.NewCfnParameter(s, new(settingsParameter), &awscdk.CfnParameterProps{
		Description:           new("The settings in the CDK's context that this template was made with. Name it only to change them"),
		Default:               value,
		AllowedValues:         list(value),
		ConstraintDescription: new("this template's settings are " + value + ", and the stack was deployed with others: put those back into the context (cdk.context.json, or -c), or confirm the change with --parameters " + *s.StackName() + ":" + settingsParameter + "=" + value),
	})
	export(s, settingsParameter, ref(settingsParameter))
}

const settingsParameter = "Settings"
