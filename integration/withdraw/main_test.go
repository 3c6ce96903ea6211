package main

import "testing"

func TestWhoNoticedIsReadFromWhatTheTestsPrinted(t *testing.T) {
	for name, k := range map[string]struct{ out, want string }{
		"a test":         {"=== RUN\n    --- FAIL: TestA/part (0.1s)\n--- FAIL: TestA (0.2s)\nFAIL\n", "TestA"},
		"one that waits": {"panic: test timed out after 8m0s\n\trunning tests:\n\t\tTestB (7m3s)\n\ngoroutine 1", "TestB waits without end"},
		"the start": {
			"localstack up: exit status 1\nwaiting\nlocalstack: StileControl: FAILED: AccessDenied\nmore\n", "the system doesn't start: StileControl: FAILED: AccessDenied",
		},
		"the start, without a word":  {"localstack up: exit status 1\n", "the system doesn't start"},
		"a log that names the start": {"{\"msg\":\"run: localstack up\"}\n", ""},
		"something else":             {"fork/exec: no such file or directory\n", ""},
		"part of a test":             {"    --- FAIL: TestA/part (0.1s)\n", ""},
		"nothing":                    {"", ""},
	} {
		if got := verdict([]byte(k.out)); got != k.want {
			t.Errorf("%s: %q, want %q", name, got, k.want)
		}
	}
}

func TestOnlyWhatFailedIsShown(t *testing.T) {
	const events = `{"Action":"output","Test":"TestA","Output":"fine\n"}
{"Action":"output","Test":"TestB","Output":"it broke\n"}
{"Action":"pass","Test":"TestA"}
{"Action":"fail","Test":"TestB"}
{"Action":"output","Output":"no test needed x/y/z\n"}
{"Action":"fail"}
`
	if got := complaints([]byte(events)); got != "it broke\nno test needed x/y/z\n" {
		t.Errorf("%q", got)
	}
}
