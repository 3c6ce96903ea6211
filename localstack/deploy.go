package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/cloud"
	"github.com/stile-dev/stile/localstack/template"
)

// stacks are deployed in this order; each file in infra/templates is named after its stack.
var stacks = []string{"StileData", "StileControl", "StileAudit", "StileFleet"}

// deployment is everything that a deployment of the stacks needs.
type deployment struct {
	place   place
	ports   *ports
	scale   scale
	account *account.Account
	cloud   *cloud.Cloud
	log     *slog.Logger
	phase   func(string) // told what is being done
	stale   func() error // makes the next up deploy again
	told    string       // the API's URL as people are given it: the output of StileControl

	instances instances
}

// stage is the stage of the one API, which its public URL ends with.
const stage = "prod"

// apiURL is where the API is reached here.
func (d *deployment) apiURL() string { return "https://" + loopback(d.ports.API) + "/" + stage }

// run deploys every stack.
func (d *deployment) run(ctx context.Context) error {
	deployer, err := d.cloud.Deployer()
	if err != nil {
		return err
	}
	for _, name := range stacks {
		d.phase("deploying " + name)
		if err := d.deploy(ctx, deployer, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployment) deploy(ctx context.Context, deployer *template.Deployer, name string) error {
	raw, err := os.ReadFile(filepath.Join(d.place.templates(), name+".json"))
	if err != nil {
		return fmt.Errorf("reading the template of %s: %w", name, err)
	}
	t, err := template.Parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	parameters, err := d.parameters(name, t)
	if err != nil {
		return err
	}
	d.localise(t)
	outputs, err := deployer.Deploy(ctx, template.Stack{
		Name: name, Template: t, Parameters: parameters, Import: true, Protect: name == stacks[0] && deployer.State.Created(name),
	})
	if url, ok := outputs[outAPIURL]; ok {
		d.told = url
	}
	return err
}

// outAPIURL is the output of StileControl that says the API's URL.
const outAPIURL = "OutApiUrl"

// localise says where the API is, wherever the template does: API Gateway's own domain names don't lead to this machine.
// A URL of somebody's own domain stays as it was set.
func (d *deployment) localise(t *template.Template) {
	out, ok := t.Outputs[outAPIURL]
	if _, own := out.Value.(string); !ok || own {
		return
	}
	said := out.Value
	out.Value = d.apiURL()
	t.Outputs[outAPIURL] = out
	for _, r := range t.Resources {
		replace(r.Properties, said, d.apiURL())
	}
}

// replace puts a text in the place of each value of a map that is another, at any depth.
func replace(in map[string]any, old any, with string) {
	for key, value := range in {
		if reflect.DeepEqual(value, old) {
			in[key] = with
		} else if below, ok := value.(map[string]any); ok {
			replace(below, old, with)
		}
	}
}

// parameters are what somebody who deploys into an account would specify. Whoever runs this has written the templates, and
// means their settings.
func (d *deployment) parameters(stack string, t *template.Template) (map[string]string, error) {
	given, err := d.specified(stack)
	if settings, ok := t.Parameters["Settings"]; ok && err == nil {
		given["Settings"] = fmt.Sprint(settings.Default)
	}
	return given, err
}

func (d *deployment) specified(stack string) (map[string]string, error) {
	switch stack {
	case "StileControl":
		admin := d.account.Admin()
		role, err := d.cloud.Authority.Role(admin.Role)
		if err != nil {
			return nil, fmt.Errorf("finding the administrator's role: %w", err)
		}
		match, err := json.Marshal(map[string]string{
			"partition": d.account.Partition, "account": d.account.Account, "role": role.Name, "role_id": role.ID, "session": admin.Session,
		})
		return map[string]string{"BootstrapAdmin": string(match), "ApiAccessLogs": "on"}, err
	case "StileFleet":
		return map[string]string{
			"PublicPort": strconv.Itoa(d.ports.Proxy), "DesiredCount": strconv.Itoa(d.scale.Proxies), "ProxyProtocolSources": "127.0.0.1/32",
			"LingerSeconds": strconv.Itoa(d.cloud.ECS.Linger()),
		}, nil
	}
	return map[string]string{}, nil
}

// trustOf is a trust policy for one AWS service.
func trustOf(service string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":"sts:AssumeRole"}]}`, service)
}
