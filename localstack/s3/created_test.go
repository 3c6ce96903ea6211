package s3_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestABucketThatTellsEventBridgeTellsOfEachObject(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close(t)
	tells := map[string]any{"EventBridgeConfiguration": map[string]any{"EventBridgeEnabled": "true"}}
	loud := s.bucket(t, "Loud", map[string]any{"NotificationConfiguration": tells})
	quiet := s.bucket(t, "Quiet", nil)
	for _, bucket := range []string{loud, quiet} {
		if status, answer := s.send(t, "all", "PUT", "", "/"+bucket+"/a/b", "text"); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
	}
	var got []string
	for _, e := range s.told {
		got = append(got, e.Bucket.Name+" "+e.Object.Key+" "+e.Object.ETag)
	}
	if diff := cmp.Diff([]string{loud + " a/b 1cb251ec0d568de6a929b520c4aed8d1"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
