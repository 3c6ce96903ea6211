package ledger_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/table"
)

// meter counts what each partition of agents' events takes in each second, in write units.
type meter struct {
	table.API
	mu    sync.Mutex
	units map[string]int
	last  time.Time
}

func (m *meter) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	item := table.Item(in.Item)
	pk, now := item.Text("pk"), time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = now
	if strings.HasPrefix(pk, "event#agent#") {
		m.units[fmt.Sprint(pk, now.Unix())] += (len(item.Text("event")) + 400 + 1023) / 1024
	}
	return &dynamodb.PutItemOutput{}, nil
}

// Ten thousand agents come back at once after an outage, each with what it had to keep, to the three proxies that a cluster has at
// most. A partition of DynamoDB takes 1,000 write units a second.
func TestAFleetThatComesBackAsksNoPartitionForMoreThanItGives(t *testing.T) {
	for name, size := range map[string]func(*rand.Rand) int{
		"small events":     func(*rand.Rand) int { return 300 },
		"large events":     func(*rand.Rand) int { return 15_000 },
		"as they may come": func(r *rand.Rand) int { return 200 + int(r.ExpFloat64()*700)%15_000 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const agents, each, batch = 10_000, 4, 2
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				m := &meter{units: map[string]int{}}
				var proxies [3]*ledger.Ledger
				for i := range proxies {
					proxies[i] = ledger.New(ledger.Config{DynamoDB: m, Table: "t", Pace: ledger.ProxyPace})
				}
				begun, total := time.Now(), 0
				var mu sync.Mutex
				var done sync.WaitGroup
				for n := range agents {
					done.Go(func() {
						r := rand.New(rand.NewPCG(seed, uint64(n)))
						for range each / batch {
							var d audit.Delivery
							for range batch {
								e := reported(r, n)
								e.Data["command"] = strings.Repeat("x", size(r))
								body, err := json.Marshal(e)
								if err != nil {
									t.Error(err)
								}
								d.Events = append(d.Events, audit.Signed{Event: e, Body: body})
								mu.Lock()
								total += (len(body) + 400 + 1023) / 1024
								mu.Unlock()
							}
							if err := proxies[n%len(proxies)].Deliver(t.Context(), d); err != nil {
								t.Error(err)
							}
						}
					})
				}
				done.Wait()
				most := 0
				for _, units := range m.units {
					most = max(most, units)
				}
				took := m.last.Sub(begun).Seconds()
				t.Logf("at most %d units a second of one partition; %d units in %.1f s", most, total, took)
				if most > 1000 {
					t.Errorf("a partition is asked for %d units in a second", most)
				}
				if rate := float64(total) / took; rate < 3*ledger.ProxyPace*0.45 {
					t.Errorf("only %.0f units a second are written", rate)
				}
			})
		})
	}
}

// reported is one of an agent's, whose id is its own.
func reported(r *rand.Rand, agent int) audit.Event {
	var entropy [10]byte
	for i := range entropy {
		entropy[i] = byte(r.Uint32())
	}
	e := audit.New(audit.SessionStart, strings.NewReader(string(entropy[:])), time.Now())
	e.Cluster, e.Actor, e.TargetKind, e.Target = "c", "user/ada", "node", "web-1"
	e.Source, e.SourceEpoch, e.Seq = fmt.Sprintf("agent/agt_%d", agent), "e1", 1
	e.Data = map[string]string{"certificate": "crt_1"}
	return e
}
