package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/cloud"
	"github.com/stile-dev/stile/localstack/template"
)

// stacks are deployed in this order; each file in infra/templates is named after its stack.
var stacks = []string{"StileData", "StileControl", "StileFleet"}

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
}

// stage is the stage of the one API, which its public URL ends with.
const stage = "prod"

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
	parameters, err := d.parameters(name)
	if err != nil {
		return err
	}
	_, err = deployer.Deploy(ctx, template.Stack{
		Name: name, Template: t, Parameters: parameters, Protect: name == stacks[0] && deployer.State.Created(name),
	})
	return err
}

// parameters are what somebody who deploys into an account would specify.
func (d *deployment) parameters(stack string) (map[string]string, error) {
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
		return map[string]string{"BootstrapAdmin": string(match), "ApiUrl": d.apiURL(), "ApiAccessLogs": "on"}, err
	case "StileFleet":
		return map[string]string{
			"PublicPort": strconv.Itoa(d.ports.Proxy), "DesiredCount": strconv.Itoa(d.scale.Proxies), "ProxyProtocolSources": "127.0.0.1/32",
		}, nil
	}
	return nil, nil
}

// trustOf is a trust policy for one AWS service.
func trustOf(service string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":"sts:AssumeRole"}]}`, service)
}
