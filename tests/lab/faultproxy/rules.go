// Package faultproxy is a TLS reverse proxy before the API server that breaks requests on demand. This file: the rules.
package faultproxy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"sync"

	"meshrun/lab/duration"
)

// Rule says what happens to the requests that match it. Of several rules the first that matches and is not used up counts.
type Rule struct {
	// ID names the rule for deletion; given by the proxy when empty.
	ID string `json:"id,omitempty"`
	// Method is exact, Path and Query are regular expressions (unanchored); empty matches all.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Query  string `json:"query,omitempty"`
	// UserAgent is a regular expression, to hit one client only.
	UserAgent string `json:"userAgent,omitempty"`

	// Delay comes before everything else that the rule does, and before an answer of the server.
	Delay duration.D `json:"delay,omitempty"`
	// Status answers with this code and a Kubernetes Status object, without asking the server.
	Status int `json:"status,omitempty"`
	// RetryAfter is the header's value in seconds.
	RetryAfter int `json:"retryAfter,omitempty"`
	// Message is the Status object's message.
	Message string `json:"message,omitempty"`
	// Reset closes the client's connection with a TCP reset instead of an answer.
	Reset bool `json:"reset,omitempty"`
	// AfterServer lets the server do its work first: what the client sees fails, what it asked for is done.
	AfterServer bool `json:"afterServer,omitempty"`
	// CutAfter cuts the server's answer (a watch, say) after so many bytes with a reset.
	CutAfter int64 `json:"cutAfter,omitempty"`

	// Times is how often the rule acts; 0 is without end.
	Times int `json:"times,omitempty"`
	// Skip lets the first requests that match pass.
	Skip int `json:"skip,omitempty"`
	// Percent is the share of matching requests that are hit; 0 is all of them.
	Percent int `json:"percent,omitempty"`

	// Hits counts how often the rule acted.
	Hits int `json:"hits"`
	// Seen counts how many requests matched.
	Seen int `json:"seen"`

	path, query, userAgent *regexp.Regexp
}

func (r *Rule) compile() error {
	for _, part := range []struct {
		text string
		into **regexp.Regexp
	}{{r.Path, &r.path}, {r.Query, &r.query}, {r.UserAgent, &r.userAgent}} {
		compiled, err := regexp.Compile(part.text)
		if err != nil {
			return err
		}
		*part.into = compiled
	}
	if r.Status != 0 && (r.Status < 200 || r.Status > 599) {
		return fmt.Errorf("status %d is not an HTTP status", r.Status)
	}
	return nil
}

func (r *Rule) matches(request *http.Request) bool {
	return (r.Method == "" || r.Method == request.Method) &&
		r.path.MatchString(request.URL.Path) &&
		r.query.MatchString(request.URL.RawQuery) &&
		r.userAgent.MatchString(request.UserAgent())
}

// Rules is the list of rules; safe for use by many requests.
type Rules struct {
	mu    sync.Mutex
	rules []*Rule
	next  int
}

// Add appends a rule and returns it with its id.
func (r *Rules) Add(rule Rule) (Rule, error) {
	if err := rule.compile(); err != nil {
		return rule, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	if rule.ID == "" {
		rule.ID = fmt.Sprintf("rule-%d", r.next)
	}
	r.rules = append(r.rules, &rule)
	return rule, nil
}

// Remove takes one rule away, or all when id is empty.
func (r *Rules) Remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var rest []*Rule
	for _, rule := range r.rules {
		if id != "" && rule.ID != id {
			rest = append(rest, rule)
		}
	}
	r.rules = rest
}

// List returns copies of all rules with their counts.
func (r *Rules) List() []Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []Rule{}
	for _, rule := range r.rules {
		list = append(list, *rule)
	}
	return list
}

// pick returns the rule that acts on a request, or nil.
func (r *Rules) pick(request *http.Request) *Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rule := range r.rules {
		if !rule.matches(request) {
			continue
		}
		rule.Seen++
		if rule.Seen <= rule.Skip || (rule.Times > 0 && rule.Hits >= rule.Times) {
			continue
		}
		if rule.Percent > 0 && rand.IntN(100) >= rule.Percent {
			continue
		}
		rule.Hits++
		picked := *rule
		return &picked
	}
	return nil
}
