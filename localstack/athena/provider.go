package athena

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

const (
	enabled, disabled = "ENABLED", "DISABLED"

	maxDescription = 1024   // characters, as the other bounds of Athena's API reference
	maxQueryName   = 128    //
	maxDatabase    = 255    //
	maxQueryText   = 262144 //
)

// groupSpec is AWS::Athena::WorkGroup.
type groupSpec struct {
	Name, Description, State string
	RecursiveDeleteOption    property.Bool
	WorkGroupConfiguration   *configuration
}

// querySpec is AWS::Athena::NamedQuery.
type querySpec struct{ Name, Description, Database, QueryString, WorkGroup string }

// nameForm is what workgroups may be called.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,128}$`)

const (
	groupType = "AWS::Athena::WorkGroup"
	queryType = "AWS::Athena::NamedQuery"
)

// Types names what the service provisions from templates.
func (*Service) Types() []string { return []string{queryType, groupType} }

// Provision creates or updates a workgroup or a named query.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	switch r.Type {
	case groupType:
		return s.provisionGroup(r)
	case queryType:
		return s.provisionQuery(r)
	}
	return resource.Outcome{}, fmt.Errorf("the local Athena does not provide %s", r.Type)
}

func (s *Service) provisionGroup(r resource.Resource) (resource.Outcome, error) {
	var spec groupSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	g := group{Name: spec.Name, Description: spec.Description, State: spec.State, Created: s.config.Now().UTC()}
	if g.State == "" {
		g.State = enabled
	}
	var err error
	g.Settings, err = spec.WorkGroupConfiguration.read()
	if err := errors.Join(g.check(), err); err != nil {
		return resource.Outcome{}, err
	}
	if r.PhysicalID != "" && r.PhysicalID != g.Name {
		return resource.Outcome{}, fmt.Errorf("property Name: workgroup %s cannot be renamed to %s", r.PhysicalID, g.Name)
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		var was group
		switch err := get(tx, groupBucket, g.Name, &was); {
		case err == nil && r.New():
			return fmt.Errorf("workgroup %s: %w", g.Name, resource.ErrExists)
		case err == nil:
			g.Created = was.Created
		case !errors.Is(err, errAbsent):
			return err
		}
		return put(tx, groupBucket, g.Name, g)
	})
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: g.Name, Attributes: map[string]any{
		"CreationTime": strconv.FormatInt(g.Created.Unix(), 10),
		"WorkGroupConfiguration.EngineVersion.EffectiveEngineVersion": engine,
	}}, nil
}

func (g group) check() error {
	var errs []error
	if g.Name == primary || !nameForm.MatchString(g.Name) {
		errs = append(errs, fmt.Errorf("property Name: %.200q is none: use 1 to 128 letters, digits, and ._-, but not %s", g.Name, primary))
	}
	if len(g.Description) > maxDescription {
		errs = append(errs, fmt.Errorf("property Description: it is longer than %d characters", maxDescription))
	}
	if g.State != enabled && g.State != disabled {
		errs = append(errs, fmt.Errorf("property State: %.200q is neither %s nor %s", g.State, enabled, disabled))
	}
	return errors.Join(errs...)
}

// provisionQuery makes a named query. Each change of a property replaces it, so that there is nothing to update.
func (s *Service) provisionQuery(r resource.Resource) (resource.Outcome, error) {
	var spec querySpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	q := query{ID: r.PhysicalID, Name: spec.Name, Description: spec.Description, Database: spec.Database, Text: spec.QueryString, Group: spec.WorkGroup}
	if q.ID == "" {
		q.ID = idOf(r)
	}
	if q.Group == "" {
		q.Group = primary
	}
	if err := q.check(); err != nil {
		return resource.Outcome{}, err
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		var was query
		switch err := get(tx, queryBucket, q.ID, &was); {
		case err == nil && r.New():
			return fmt.Errorf("named query %s: %w", q.ID, resource.ErrExists)
		case err == nil && !r.Begun && !reflect.DeepEqual(was, q):
			return errors.New("a named query is replaced and not changed")
		case err != nil && !errors.Is(err, errAbsent):
			return err
		}
		if tx.Bucket(groupBucket).Get([]byte(q.Group)) == nil {
			return fmt.Errorf("property WorkGroup: there is no workgroup %.200q", q.Group)
		}
		return put(tx, queryBucket, q.ID, q)
	})
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: q.ID, Attributes: map[string]any{"NamedQueryId": q.ID}}, nil
}

func (q query) check() error {
	var errs []error
	for _, c := range []struct {
		property, text string
		least, most    int
	}{
		{"Name", q.Name, 1, maxQueryName},
		{"Description", q.Description, 0, maxDescription},
		{"Database", q.Database, 1, maxDatabase},
		{"QueryString", q.Text, 1, maxQueryText},
	} {
		switch {
		case len(c.text) < c.least:
			errs = append(errs, fmt.Errorf("property %s is missing", c.property))
		case len(c.text) > c.most:
			errs = append(errs, fmt.Errorf("property %s: it is longer than %d characters", c.property, c.most))
		}
	}
	return errors.Join(errs...)
}

// idOf is a new query's id, the same when a deployment that was interrupted makes it again.
func idOf(r resource.Resource) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d", r.StackID, r.Stack, r.LogicalID, r.Generation))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8: of one's own making
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// Remove deletes a named query, or a workgroup: one with named queries only if its RecursiveDeleteOption says so.
func (s *Service) Remove(r resource.Resource) error {
	if r.Type == queryType {
		return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(queryBucket).Delete([]byte(r.PhysicalID)) })
	}
	var spec groupSpec
	if err := property.Decode(r.Properties, &spec); err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for {
			list, more, err := queries(tx, r.PhysicalID, "", maxPage)
			if err != nil {
				return err
			}
			if len(list) > 0 && !spec.RecursiveDeleteOption {
				return fmt.Errorf("WorkGroup %s is not empty: it has named queries, and no RecursiveDeleteOption", r.PhysicalID)
			}
			for _, q := range list {
				if err := tx.Bucket(queryBucket).Delete([]byte(q.ID)); err != nil {
					return err
				}
			}
			if !more {
				return tx.Bucket(groupBucket).Delete([]byte(r.PhysicalID))
			}
		}
	})
}
