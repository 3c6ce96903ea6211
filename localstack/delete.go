package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
)

// deleteLimit bounds the deletion of a stack; proxies wait for their sessions.
const deleteLimit = 5 * time.Minute

// deleteStack has the running local AWS delete a stack, and prints what was kept.
func deleteStack(ctx context.Context, p place, name string, unprotect bool, out io.Writer) error {
	if !slices.Contains(stacks, name) {
		return fmt.Errorf("%w: name one stack to delete: %s", errUsage, strings.Join(stacks, ", "))
	}
	if err := p.create(); err != nil {
		return err
	}
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	u, err := newUp(p, scale{})
	if err != nil {
		return err
	}
	query := url.Values{"stack": {name}}
	if unprotect {
		query.Set("unprotect", "true")
	}
	text, err := u.ask(ctx, "delete?"+query.Encode(), deleteLimit)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// delete deletes a stack, and writes down what was kept.
func (d *deployment) delete(ctx context.Context, out io.Writer, query url.Values) error {
	name := query.Get("stack")
	deployer, err := d.cloud.Deployer()
	if err != nil {
		return err
	}
	if query.Get("unprotect") == "true" {
		if err := deployer.Unprotect(name); err != nil {
			return err
		}
	}
	if err := d.stale(); err != nil {
		return err
	}
	kept, err := deployer.Delete(ctx, name)
	if err != nil {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is deleted\n", name)
	for _, r := range kept {
		fmt.Fprintf(&b, "  kept %s %s\n", r.Type, r.Ref)
	}
	_, err = io.WriteString(out, b.String())
	return err
}
