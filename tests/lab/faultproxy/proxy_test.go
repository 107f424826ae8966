// Tests of the fault proxy: each kind of fault, seen from a client.
package faultproxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshrun/lab/duration"
	"meshrun/lab/pki"
)

// setup returns a proxy before a server that answers 1000 bytes, and counts what reaches it.
func setup(t *testing.T) (*Proxy, *http.Client, *int) {
	t.Helper()
	ca, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue("server", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached++
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	backend.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	backend.StartTLS()
	t.Cleanup(backend.Close)
	proxy, err := Start(backend.URL, ca.Cert, pair)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		// The test asks its own server only.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}}
	return proxy, client, &reached
}

func add(t *testing.T, proxy *Proxy, rule Rule) {
	t.Helper()
	if _, err := proxy.Add(rule); err != nil {
		t.Fatal(err)
	}
}

func get(client *http.Client, url string) (int, string, http.Header, error) {
	response, err := client.Get(url)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), response.Header, err
}

func TestRequestsPassWithoutRules(t *testing.T) {
	proxy, client, _ := setup(t)
	if code, body, _, err := get(client, proxy.URL+"/api"); err != nil || code != 200 || len(body) != 1000 {
		t.Fatalf("%d, %d bytes, %v", code, len(body), err)
	}
}

func TestStatusIsAnsweredSoManyTimes(t *testing.T) {
	proxy, client, reached := setup(t)
	add(t, proxy, Rule{Path: "^/api", Status: 429, RetryAfter: 3, Times: 2, Skip: 1})
	var codes []int
	for range 4 {
		code, body, header, err := get(client, proxy.URL+"/api")
		if err != nil {
			t.Fatal(err)
		}
		if code == 429 && (header.Get("Retry-After") != "3" || !strings.Contains(body, `"reason":"TooManyRequests"`)) {
			t.Errorf("header %v, body %s", header, body)
		}
		codes = append(codes, code)
	}
	if codes[0] != 200 || codes[1] != 429 || codes[2] != 429 || codes[3] != 200 || *reached != 2 {
		t.Errorf("codes %v, %d reached the server", codes, *reached)
	}
	if list := proxy.List(); list[0].Hits != 2 || list[0].Seen != 4 {
		t.Errorf("counts are %+v", list[0])
	}
}

func TestRulesMatchMethodPathAndQuery(t *testing.T) {
	proxy, client, _ := setup(t)
	add(t, proxy, Rule{Method: "POST", Status: 500})
	add(t, proxy, Rule{Path: "/pods$", Query: "watch=", Status: 503})
	for path, want := range map[string]int{"/pods": 200, "/pods?watch=1": 503, "/nodes?watch=1": 200} {
		if code, _, _, err := get(client, proxy.URL+path); err != nil || code != want {
			t.Errorf("%s: %d, %v", path, code, err)
		}
	}
}

func TestResetIsATCPReset(t *testing.T) {
	proxy, client, reached := setup(t)
	add(t, proxy, Rule{Reset: true})
	if _, _, _, err := get(client, proxy.URL); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	if *reached != 0 {
		t.Error("the server was asked")
	}
}

func TestServerDoesItsWorkBeforeALateFault(t *testing.T) {
	proxy, client, reached := setup(t)
	add(t, proxy, Rule{AfterServer: true, Times: 1})
	if _, _, _, err := get(client, proxy.URL); err == nil || *reached != 1 {
		t.Errorf("error %v, %d reached the server", err, *reached)
	}
}

func TestAnswerIsCut(t *testing.T) {
	proxy, client, _ := setup(t)
	add(t, proxy, Rule{CutAfter: 100})
	_, body, _, err := get(client, proxy.URL)
	if err == nil || len(body) > 100 {
		t.Errorf("%d bytes, error %v", len(body), err)
	}
}

func TestAnswerIsDelayed(t *testing.T) {
	proxy, client, _ := setup(t)
	add(t, proxy, Rule{Delay: duration.D(200 * time.Millisecond)})
	started := time.Now()
	if _, _, _, err := get(client, proxy.URL); err != nil || time.Since(started) < 200*time.Millisecond {
		t.Errorf("%s, %v", time.Since(started), err)
	}
}

func TestRulesAreRemovedByID(t *testing.T) {
	proxy, _, _ := setup(t)
	add(t, proxy, Rule{ID: "a"})
	add(t, proxy, Rule{})
	proxy.Remove("a")
	if list := proxy.List(); len(list) != 1 || list[0].ID != "rule-2" {
		t.Errorf("list is %+v", list)
	}
	proxy.Remove("")
	if list := proxy.List(); len(list) != 0 {
		t.Errorf("list is %+v", list)
	}
	if _, err := proxy.Add(Rule{Path: "("}); err == nil {
		t.Error("a broken pattern was accepted")
	}
}
