package dynamodb

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
)

// Bounds of one pass over one table: how many items it looks at and how many it deletes.
const (
	maxLooked  = 5000
	maxExpired = 100
	retention  = 24 * time.Hour           // of stream records
	tooOld     = 5 * 365 * 24 * time.Hour // an expiry longer ago than this is not believed, as AWS does
	tidyEvery  = time.Minute
)

// expiry is the identity that deletes expired items.
var expiry = &store.Identity{Type: "Service", PrincipalID: "dynamodb.amazonaws.com"}

// sweep deletes expired items, aged stream records and old request tokens until ctx is done.
func (s *Server) sweep(ctx context.Context) {
	defer close(s.swept)
	tick := time.NewTicker(s.config.SweepEvery)
	defer tick.Stop()
	places := map[string]*item.Key{} // where the next pass over each table begins
	var tidied time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.expire(ctx, places)
		if now := s.config.Now(); now.Sub(tidied) >= tidyEvery {
			tidied = now
			err = errors.Join(err, s.store.Update(ctx, func(tx *store.Tx) error {
				tx.Tidy(retention)
				return nil
			}))
		}
		if err != nil && ctx.Err() == nil {
			s.config.Logger.Error("Sweeping tables", "error", err)
		}
	}
}

// expire makes one bounded pass over every table with a time to live.
func (s *Server) expire(ctx context.Context, places map[string]*item.Key) error {
	var tables []store.Table
	s.store.Read(func(r *store.Reader) {
		for _, name := range r.Tables() {
			if t, ok := r.Table(name); ok && t.TTL != "" {
				tables = append(tables, t)
			}
		}
	})
	var failed error
	for _, t := range tables {
		keys := s.expired(t, places)
		if len(keys) == 0 {
			continue
		}
		failed = errors.Join(failed, s.store.Update(ctx, func(tx *store.Tx) error {
			now, ok := tx.Table(t.Name)
			if !ok || now.ID != t.ID || now.TTL == "" {
				return nil
			}
			for _, k := range keys {
				if overdue(tx.Get(now, k), now.TTL, tx.Now()) {
					tx.Put(now, k, nil, expiry)
				}
			}
			return nil
		}))
	}
	return failed
}

// expired are some keys of expired items, from where the last pass ended.
func (s *Server) expired(t store.Table, places map[string]*item.Key) []item.Key {
	var keys []item.Key
	now, looked := s.config.Now(), 0
	var last *item.Key
	s.store.Read(func(r *store.Reader) {
		r.Scan(t.Name, places[t.ID], func(k item.Key, i item.Item) bool {
			if overdue(i, t.TTL, now) {
				keys = append(keys, k)
			}
			if looked++; looked >= maxLooked || len(keys) >= maxExpired {
				last = &k
				return false
			}
			return true
		})
	})
	places[t.ID] = last
	return keys
}

// overdue reports whether the item's time to live has passed.
func overdue(i item.Item, attribute string, now time.Time) bool {
	v, ok := i[attribute]
	if !ok || v.Kind != item.N {
		return false
	}
	seconds, err := strconv.ParseFloat(v.Text, 64)
	if err != nil {
		return false
	}
	at := float64(now.Unix())
	return seconds < at && seconds > at-tooOld.Seconds()
}
