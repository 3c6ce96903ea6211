package apigateway

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// stage is one AWS::ApiGateway::Stage.
type stage struct {
	api, deployment string // ids

	mu      sync.Mutex
	buckets map[string]*bucket // by method and resource, such as "POST /v1/login/iam"; "* /*" is everything else's
	log     *accessLog         // nil: none
}

// methodSetting is one of a stage's settings.
type methodSetting struct {
	HttpMethod, ResourcePath string
	MetricsEnabled           property.Bool
	ThrottlingRateLimit      *property.Int
	ThrottlingBurstLimit     *property.Int
}

func (g *Gateway) putStage(r resource.Resource) (resource.Outcome, error) {
	var spec struct {
		RestApiId, DeploymentId, StageName string
		MethodSettings                     []methodSetting
		AccessLogSetting                   *accessLogSetting
	}
	if err := property.Decode(r.Properties, &spec); err != nil {
		return resource.Outcome{}, err
	}
	if err := g.known(spec.RestApiId); err != nil {
		return resource.Outcome{}, err
	}
	s := &stage{api: spec.RestApiId, deployment: spec.DeploymentId, buckets: map[string]*bucket{}}
	var err error
	if s.log, err = g.openLog(spec.AccessLogSetting); err != nil {
		return resource.Outcome{}, fmt.Errorf("property AccessLogSetting: %w", err)
	}
	for _, m := range spec.MethodSettings {
		if err := s.throttle(m, g.apis[s.api].root, g.Now()); err != nil {
			return resource.Outcome{}, fmt.Errorf("property MethodSettings: %w", err)
		}
	}
	return resource.Outcome{Ref: spec.StageName}, g.open(spec.StageName, s, r.New())
}

// open serves a stage. All APIs share one address here, so a stage's name must be unique. What was used of the throttles of
// a stage that was there is forgotten.
func (g *Gateway) open(name string, s *stage, isNew bool) error {
	if name == "" {
		return errors.New("property StageName is missing")
	}
	other := g.stages[name]
	if other != nil && other.api != s.api {
		return fmt.Errorf("property StageName: API %s already has a stage %s, and APIs are told apart by their stages here", other.api, name)
	}
	if other != nil && isNew {
		return fmt.Errorf("property StageName: stage %s: %w", name, resource.ErrExists)
	}
	g.stages[name] = s
	return nil
}

// everything is the setting of routes that have none of their own.
const everything = "* /*"

// throttle keeps one setting. Each must be whole: what a setting of one method that lacks a limit has instead, the stage's or
// the account's, nobody should have to know.
func (s *stage) throttle(m methodSetting, routes *node, now time.Time) error {
	if m.ThrottlingRateLimit == nil || m.ThrottlingBurstLimit == nil || *m.ThrottlingRateLimit <= 0 || *m.ThrottlingBurstLimit <= 0 {
		return fmt.Errorf("%s %s: ThrottlingRateLimit and ThrottlingBurstLimit must both be given here, and be more than 0", m.HttpMethod, m.ResourcePath)
	}
	key := m.HttpMethod + " " + m.ResourcePath
	if key != everything {
		path, ok := strings.CutPrefix(m.ResourcePath, "/~1")
		if !ok || strings.Contains(path, "/") {
			return fmt.Errorf("ResourcePath %q is neither /* nor a path such as /~1v1~1login~1iam", m.ResourcePath)
		}
		path = "/" + strings.ReplaceAll(path, "~1", "/")
		if !routes.has(path, m.HttpMethod) {
			return fmt.Errorf("the API has no route %s %s", m.HttpMethod, path)
		}
		key = m.HttpMethod + " " + path
	}
	if s.buckets[key] != nil {
		return fmt.Errorf("%s has two settings", key)
	}
	s.buckets[key] = &bucket{rate: float64(*m.ThrottlingRateLimit), burst: float64(*m.ThrottlingBurstLimit), left: float64(*m.ThrottlingBurstLimit), at: now}
	return nil
}

// has reports whether a path, written as the API declares it, has a method.
func (n *node) has(path, method string) bool {
	if n.path == path && n.methods[method] != "" {
		return true
	}
	children := maps.Clone(n.literal)
	children["{}"], children["{+}"] = n.param, n.greedy
	for _, child := range children {
		if child != nil && child.has(path, method) {
			return true
		}
	}
	return false
}

// admits counts a request to a route, or refuses it. Routes without a setting of their own share one here; AWS may count
// each by itself, which admits more.
func (s *stage) admits(method, resourcePath string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[method+" "+resourcePath]
	if b == nil {
		b = s.buckets[everything]
	}
	return b == nil || b.take(now)
}

// bucket is a token bucket: it fills at a rate up to a burst, and each request takes one token.
type bucket struct {
	rate, burst, left float64
	at                time.Time
}

func (b *bucket) take(now time.Time) bool {
	if passed := now.Sub(b.at); passed > 0 {
		b.left, b.at = min(b.burst, b.left+passed.Seconds()*b.rate), now
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
