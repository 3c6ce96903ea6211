// Package ecr is the local Elastic Container Registry: repositories whose images are pushed by its own calls, layer by
// layer, and pulled by the tasks of this account. It verifies every digest, and keeps blobs as files.
//
// It speaks no registry protocol of Docker's or the OCI's, since nothing here uses one. Its entry point is [Open].
package ecr

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Config says where images are kept.
type Config struct {
	Dir       string // repositories.json and blobs/<repository>/<digest>
	Authority *iam.Authority
	Now       func() time.Time // default time.Now
}

// Service is the local registry. It is safe for concurrent use.
type Service struct {
	config Config

	mu           sync.Mutex
	repositories map[string]*repository // by name
	uploads      map[string]*upload     // by id; they don't outlive the process
}

// repository is what is remembered of one.
type repository struct {
	Immutable     bool
	EmptyOnDelete bool
	Keep          int               // images, by the lifecycle policy; 0 keeps all
	Layers        map[string]int64  // sizes, by digest
	Images        map[string]*image // by digest
	Order         int64             // of the newest image
}

type image struct {
	Tags      []string
	MediaType string
	Manifest  string
	Order     int64 // of its push
}

// upload is a layer on its way.
type upload struct {
	repository string
	parts      []int
	content    bytes.Buffer
}

// Open reads or makes the registry kept in c.Dir.
func Open(c Config) (*Service, error) {
	if c.Authority == nil {
		return nil, errors.New("opening ecr: Config.Authority is missing")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening ecr: %w", err)
	}
	s := &Service{config: c, repositories: map[string]*repository{}, uploads: map[string]*upload{}}
	raw, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s.repositories)
	}
	if err != nil {
		return nil, fmt.Errorf("opening ecr: %w", err)
	}
	return s, nil
}

func (s *Service) path() string { return filepath.Join(s.config.Dir, "repositories.json") }

// folder is where a repository's blobs lie.
func (s *Service) folder(repository string) string {
	return filepath.Join(s.config.Dir, "blobs", strings.ReplaceAll(repository, "/", "%"))
}

func (s *Service) blob(repository, digest string) string {
	return filepath.Join(s.folder(repository), strings.TrimPrefix(digest, "sha256:"))
}

// save keeps what is remembered; s.mu is held.
func (s *Service) save() error {
	raw, err := json.MarshalIndent(s.repositories, "", " ")
	if err != nil {
		return fmt.Errorf("keeping repositories: %w", err)
	}
	return write(s.path(), raw)
}

// write replaces a file as a whole.
func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keeping images: %w", err)
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fmt.Errorf("keeping images: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keeping images: %w", err)
	}
	return nil
}

// Name is the signing name.
func (*Service) Name() string { return "ecr" }

// operation carries out one kind of call; s.mu is held.
type operation func(s *Service, name string, repository *repository, body []byte) (any, error)

var operations = map[string]operation{
	"BatchCheckLayerAvailability": checkLayers, "BatchGetImage": getImages, "CompleteLayerUpload": completeUpload,
	"InitiateLayerUpload": initiateUpload, "PutImage": putImage, "UploadLayerPart": uploadPart,
}

// Operations lists what the service answers.
func (*Service) Operations() []string { return slices.Sorted(maps.Keys(operations)) }

// ServeAWS answers one call.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	service, name, _ := strings.Cut(c.HTTP.Header.Get("X-Amz-Target"), ".")
	op, ok := operations[name]
	if service != "AmazonEC2ContainerRegistry_V20150921" || !ok {
		gate.WriteError(w, c, gate.JSON11, &gate.Error{Code: "UnknownOperationException", Message: "the local ECR has no operation " + name})
		return
	}
	out, err := s.serve(c, name, op)
	if err != nil {
		gate.WriteError(w, c, gate.JSON11, err)
		return
	}
	gate.WriteJSON(w, c, gate.JSON11, out)
}

// target is what every call says.
type target struct {
	RegistryID     string `json:"registryId"`
	RepositoryName string `json:"repositoryName"`
}

func (s *Service) serve(c *gate.Call, name string, op operation) (any, error) {
	var t target
	if err := json.Unmarshal(c.Body, &t); err != nil {
		return nil, &gate.Error{Code: "SerializationException", Message: "the request is not well formed"}
	}
	if err := c.Authorize(iam.Query{Action: "ecr:" + name, Resource: s.arn(t.RepositoryName)}); err != nil {
		return nil, err
	}
	if account := s.config.Authority.Account(); t.RegistryID != "" && t.RegistryID != account {
		return nil, fail("RepositoryNotFoundException", "The registry with id '%s' is not this one, '%s'", t.RegistryID, account)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[t.RepositoryName]
	if r == nil {
		return nil, fail("RepositoryNotFoundException", "The repository with name '%s' does not exist in the registry with id '%s'", t.RepositoryName, s.config.Authority.Account())
	}
	return op(s, t.RepositoryName, r, c.Body)
}

func (s *Service) arn(repository string) string {
	a := s.config.Authority
	return "arn:" + a.Partition() + ":ecr:" + a.Region() + ":" + a.Account() + ":repository/" + repository
}

// URI is how a task names a repository.
func (s *Service) URI(repository string) string { return s.host() + "/" + repository }

func (s *Service) host() string {
	suffix := "amazonaws.com"
	if s.config.Authority.Partition() == "aws-cn" {
		suffix = "amazonaws.com.cn"
	}
	return s.config.Authority.Account() + ".dkr.ecr." + s.config.Authority.Region() + "." + suffix
}

func fail(code, format string, args ...any) error {
	return &gate.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// read decodes a call's body; members that are not understood are refused rather than ignored.
func read(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fail("InvalidParameterException", "the local ECR can't read this: %v", err)
	}
	return nil
}

func newID() string { return strings.ToLower(rand.Text()) }
