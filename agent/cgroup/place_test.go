package cgroup_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/agent/cgroup"
)

const hybrid = `23 1 254:1 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`

func TestMountsAreParsed(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []cgroup.Mount
	}{
		"hybrid":          {hybrid, []cgroup.Mount{{"/sys/fs/cgroup/unified", "/", true}}},
		"unified":         {"35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n", []cgroup.Mount{{"/sys/fs/cgroup", "/", true}}},
		"optional fields": {"35 24 0:30 / /a rw shared:9 master:1 propagate_from:2 unbindable - cgroup2 none rw\n", []cgroup.Mount{{"/a", "/", true}}},
		"escapes":         {`35 24 0:30 /a\134b /mnt/with\040space\011tab\012line\134slash\043hash rw - cgroup2 none rw`, []cgroup.Mount{{"/mnt/with space\ttab\nline\\slash#hash", `/a\b`, true}}},
		"no escapes":      {`35 24 0:30 / /a\04\940\400\x rw - cgroup2 none rw`, []cgroup.Mount{{`/a\04\940\400\x`, "/", true}}},
		"other spaces":    {"35 24 0:30 / /a\u00a0b\u0085 rw - cgroup2 none rw\n", []cgroup.Mount{{"/a\u00a0b\u0085", "/", true}}},
		"read-only mount": {"35 24 0:30 / /a ro,nosuid - cgroup2 none rw\n", []cgroup.Mount{{"/a", "/", false}}},
		"read-only type":  {"35 24 0:30 / /a rw,nosuid - cgroup2 none ro\n", []cgroup.Mount{{"/a", "/", false}}},
		"several": {"35 24 0:30 / /a ro - cgroup2 none rw\n36 24 0:30 /b /c rw - cgroup2 none rw\n", []cgroup.Mount{
			{"/a", "/", false},
			{"/c", "/b", true},
		}},
		"source of that name": {"35 24 0:30 / /a rw - tmpfs cgroup2 rw\n35 24 0:30 / /cgroup2 rw - tmpfs - rw\n", nil},
		"cut off":             {"35 24 0:30 / /a rw - cgroup2", nil},
		"hyphen too early":    {"35 - cgroup2 cgroup2 rw rw\n", nil},
		"nothing":             {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, cgroup.ParseMounts([]byte(c.text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOwnPathIsTheOneOfHierarchyZero(t *testing.T) {
	for text, want := range map[string]string{
		"9:name=systemd:/x\n4:memory:/y\n0::/\n":                    "/",
		"0::/system.slice/stile.service\n":                          "/system.slice/stile.service",
		"0::/a:b/0::/c\n":                                           "/a:b/0::/c",
		"0::/no newline":                                            "/no newline",
		"1:name=systemd:/init.scope\n0::/../other\n":                "/../other",
		"10::/x\n0:cpu:/y\n0::relative\n1:name=0::/x:/system.slice": "",
		"": "",
	} {
		got, err := cgroup.OwnPath([]byte(text))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestPlacesAreWritableAndSayWhyOthersAreNot(t *testing.T) {
	line := func(root, point, options string) string {
		return "35 24 0:30 " + root + " " + point + " " + options + " - cgroup2 cgroup2 rw\n"
	}
	for name, c := range map[string]struct {
		mounts, own string
		want        []string
		reason      string
	}{
		"hybrid root":       {hybrid, "/", []string{"/sys/fs/cgroup/unified"}, ""},
		"hybrid unit":       {hybrid, "/system.slice/stile.service", []string{"/sys/fs/cgroup/unified/system.slice/stile.service"}, ""},
		"bind mount":        {line("/docker/1", "/sys/fs/cgroup", "rw"), "/docker/1/agent", []string{"/sys/fs/cgroup/agent"}, ""},
		"bind mount itself": {line("/docker/1", "/sys/fs/cgroup", "rw"), "/docker/1", []string{"/sys/fs/cgroup"}, ""},
		"of another":        {line("/docker/1", "/c", "rw"), "/docker/12", nil, "/c: it shows /docker/1, but this process is in /docker/12"},
		"above namespace":   {line("/..", "/c", "rw"), "/", nil, "/c: it shows /.., but this process is in /, outside the cgroup namespace"},
		"outside namespace": {line("/", "/c", "rw"), "/../x", nil, "/c: it shows /, but this process is in /../x, outside the cgroup namespace"},
		"dots in a name":    {line("/", "/c", "rw"), "/..x/y..", []string{"/c/..x/y.."}, ""},
		"one is read-only":  {line("/", "/c", "ro") + line("/", "/d", "rw"), "/a", []string{"/d/a"}, "/c: it is mounted read-only"},
		"all are":           {line("/", "/c", "ro") + line("/", "/d", "ro"), "/a", nil, "/c: it is mounted read-only; /d: it is mounted read-only"},
		"v1 alone":          {"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "/", nil, "none is mounted"},
	} {
		t.Run(name, func(t *testing.T) {
			dirs, err := cgroup.Places([]byte(c.mounts), c.own)
			if diff := cmp.Diff(c.want, dirs); diff != "" {
				t.Error(diff)
			}
			if got := fmt.Sprint(err); got != c.reason && (err != nil || c.reason != "") {
				t.Errorf("the reason is %q, want %q", got, c.reason)
			}
		})
	}
}

// escape is what the kernel does to what it lists.
var escape = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`)

func FuzzMounts(f *testing.F) {
	f.Add([]byte(hybrid), "/with space\\", "/root#")
	f.Add([]byte(`35 24 0:30 /\0 /\777 rw - cgroup2 none rw`), "/\u0085", "/..")
	f.Fuzz(func(t *testing.T, text []byte, point, root string) {
		cgroup.ParseMounts(text) // whatever it is, it doesn't panic
		if point == "" || root == "" {
			return
		}
		line := fmt.Sprintf("1 2 0:3 %s %s rw shared:1 - cgroup2 none rw\n", escape.Replace(root), escape.Replace(point))
		if diff := cmp.Diff([]cgroup.Mount{{point, root, true}}, cgroup.ParseMounts([]byte(line))); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzOwnPath(f *testing.F) {
	f.Add([]byte("1:cpu:/\n0::/a/b\n"), "/")
	f.Add([]byte("0::/../x"), "/x")
	f.Fuzz(func(t *testing.T, file []byte, root string) {
		own, err := cgroup.OwnPath(file)
		if err != nil {
			return
		}
		if !strings.HasPrefix(own, "/") || !strings.Contains(string(file), "0::"+own) {
			t.Errorf("%q gives %q", file, own)
		}
		mounts := fmt.Sprintf("1 2 0:3 %s /mnt/point rw - cgroup2 none rw\n", escape.Replace(root))
		dirs, _ := cgroup.Places([]byte(mounts), own)
		for _, dir := range dirs {
			if dir != path.Clean(dir) || dir != "/mnt/point" && !strings.HasPrefix(dir, "/mnt/point/") {
				t.Errorf("%q below %q is sought in %q", own, root, dir)
			}
		}
	})
}
