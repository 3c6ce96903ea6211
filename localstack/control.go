package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/ecs"
	"github.com/stile-dev/stile/localstack/process"
)

// controlPath is where up talks to serve, with the token in run/control.token.
const controlPath = "/_local/control/"

// personSession is how long a person's credentials live; every up makes new ones.
const personSession = 12 * time.Hour

// control lets up ask serve for what only serve can do.
type control struct {
	*deployment
	token string
}

func (p place) newToken() (string, error) {
	token := rand.Text()
	if err := os.WriteFile(filepath.Join(p.run(), "control.token"), []byte(token), 0o600); err != nil {
		return "", fmt.Errorf("writing the control token: %w", err)
	}
	return token, nil
}

// ServeHTTP answers POST people (write the environment files), POST agents (have the agents running) and POST delete
// (delete a stack).
func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+c.token)) != 1 {
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	var err error
	switch strings.TrimPrefix(r.URL.Path, controlPath) {
	case "people":
		err = c.writeEnvironments()
	case "agents":
		err = c.agents(context.WithoutCancel(r.Context()), func(string) bool { return true })
	case "delete":
		err = c.delete(context.WithoutCancel(r.Context()), w, r.URL.Query())
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (d *deployment) writeEnvironments() error {
	for _, person := range d.account.People {
		env, err := d.environment(person)
		if err != nil {
			return err
		}
		if err := writeEnv(filepath.Join(d.place.state, person.Env), d.place.bin(), env); err != nil {
			return err
		}
	}
	return nil
}

// environment is what a person's shell is told.
func (d *deployment) environment(person account.Person) (map[string]string, error) {
	role, err := d.cloud.Authority.Role(person.Role)
	if err != nil {
		return nil, fmt.Errorf("finding the role of %s: %w", person.Session, err)
	}
	minted, err := d.cloud.Authority.Mint(role.ARN, person.Session, personSession)
	if err != nil {
		return nil, fmt.Errorf("minting credentials of %s: %w", person.Session, err)
	}
	home := d.place.home(person.Home)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("making the home of %s: %w", person.Session, err)
	}
	return map[string]string{
		"STILE_API": d.told, "STILE_HOME": home, "SSL_CERT_FILE": d.place.trust(),
		"AWS_REGION": d.account.Region, "AWS_DEFAULT_REGION": d.account.Region, // the aws command reads the second alone
		"AWS_ENDPOINT_URL":  d.ports.endpoint(),
		"AWS_ACCESS_KEY_ID": minted.AccessKeyID, "AWS_SECRET_ACCESS_KEY": minted.SecretAccessKey, "AWS_SESSION_TOKEN": minted.SessionToken,
	}, nil
}

// writeEnv writes a file that a POSIX shell can source, for its owner alone.
func writeEnv(path, bin string, env map[string]string) error {
	var b strings.Builder
	b.WriteString("unset AWS_PROFILE AWS_DEFAULT_PROFILE\n")
	fmt.Fprintf(&b, "case \":$PATH:\" in *:%[1]s:*) ;; *) export PATH=%[1]s:\"$PATH\" ;; esac\n", quote(bin))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(env[name]))
	}
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// quote makes one word of a POSIX shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// agents has the agents that are wanted running, side by side.
func (d *deployment) agents(ctx context.Context, wanted func(name string) bool) error {
	list := slices.DeleteFunc(slices.Clone(d.account.Agents), func(a account.Agent) bool { return !wanted(a.Name) })
	return together(list, func(a account.Agent) error { return d.agent(ctx, a) })
}

// dismiss ends the agents that a larger number of them left. Their nodes stay listed, as offline.
func (d *deployment) dismiss(ctx context.Context) error {
	return together(d.account.Surplus(), func(name string) error {
		return errors.Join(d.cloud.Supervisor.Stop(ctx, name), d.without(name))
	})
}

// agent writes an agent's configuration and has it running, with the credentials of its role.
func (d *deployment) agent(ctx context.Context, agent account.Agent) error {
	role, err := d.cloud.Authority.Role(d.roleOf(agent))
	if err != nil {
		return fmt.Errorf("finding the role of %s: %w", agent.Name, err)
	}
	identity, err := d.identity(agent, role.ARN)
	if err != nil {
		return err
	}
	home := d.place.home(agent.Name)
	text, err := yaml.Marshal(agent.Config)
	if err == nil {
		err = os.MkdirAll(home, 0o700)
	}
	config := filepath.Join(home, "agent.yaml")
	if err == nil {
		err = os.WriteFile(config, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("configuring %s: %w", agent.Name, err)
	}
	env := map[string]string{
		"PATH": processPath, "SSL_CERT_FILE": d.place.trust(), "AWS_ENDPOINT_URL": d.ports.endpoint(),
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, // a server has neither
	}
	for _, name := range []string{"HOME", "USER", "LOGNAME"} {
		if value := os.Getenv(name); value != "" {
			env[name] = value
		}
	}
	maps.Copy(env, identity)
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return d.cloud.Supervisor.Ensure(ctx, process.Spec{
		Name: agent.Name, Path: filepath.Join(d.place.bin(), "stile-agent"), Args: []string{"run", "--config", config}, Env: list, Dir: home,
		Log: d.place.logOf(agent.Name), StopTimeout: 10 * time.Second,
	})
}

// identity is how an agent gets the credentials of its role: an instance of EC2 by the metadata service, which says its
// Region too, and what runs in a container by the endpoint that its variables name.
func (d *deployment) identity(agent account.Agent, role string) (map[string]string, error) {
	if agent.Service == serviceEC2 {
		url, err := d.metadata(agent, role)
		return map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}, err
	}
	env, err := d.cloud.Roles.Grant(ecs.Claim{Name: "agent/" + agent.Name, Service: agent.Service, Role: role, Session: agent.Session, Source: d.arnOf(agent)})
	if err != nil {
		return nil, err
	}
	env["AWS_REGION"], env["AWS_EC2_METADATA_DISABLED"] = d.account.Region, "true"
	if agent.Service == servicePods {
		return env, inFile(env, d.place.home(agent.Name))
	}
	return env, nil
}

// inFile has the token for the credentials' endpoint in a file, as EKS Pod Identity has it.
func inFile(env map[string]string, dir string) error {
	const variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
	file := filepath.Join(dir, "pod-identity-token")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(env[variable]), 0o600); err != nil {
		return fmt.Errorf("writing a pod's token: %w", err)
	}
	delete(env, variable)
	env[variable+"_FILE"] = file
	return nil
}

// roleOf is the ARN of an agent's role.
func (d *deployment) roleOf(agent account.Agent) string {
	return fmt.Sprintf("arn:%s:iam::%s:role/%s", d.account.Partition, d.accountOf(agent), agent.Role)
}

// accountOf is the account that an agent runs in.
func (d *deployment) accountOf(agent account.Agent) string {
	return cmp.Or(agent.Account, d.account.Account)
}

// processPath is what a service manager gives its services. It does not depend on who runs up in which
// shell, so that a running agent is recognised as up to date.
const processPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// userName is who runs this, "" if unknown.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
