package store

import (
	"context"
	"errors"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/table"
)

// Settings returns the cluster's settings, all defaults where there are none. Those that can't be read, as a newer release may
// have written them, are as strict as can be.
func (s *Store) Settings(ctx context.Context) (resource.SettingsSpec, error) {
	i, err := s.State.Get(ctx, table.Key{PK: names.Settings, SK: resource.ClusterSettings})
	if errors.Is(err, table.ErrNotFound) {
		return resource.SettingsSpec{}, nil
	}
	if err != nil {
		return resource.SettingsSpec{}, err
	}
	r, err := decode(names.Settings, i)
	if spec, ok := r.Spec.(*resource.SettingsSpec); err == nil && ok && len(r.Validate()) == 0 {
		return *spec, nil
	}
	return resource.SettingsSpec{Record: resource.RecordStrict}, nil
}
