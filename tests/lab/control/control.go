// Package control is the HTTP endpoint through which tests change a running lab, and its client.
package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"meshrun/lab/faultproxy"
	"meshrun/lab/lab"
	"meshrun/lab/nodes"
)

// route is the body of PUT and DELETE /routes.
type route struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Port      int    `json:"port"`
	Address   string `json:"address"`
}

// Serve starts the endpoint on a free loopback port and returns its URL.
func Serve(l *lab.Lab) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler(l), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}

func handler(l *lab.Lab) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, act func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			result, err := act(r)
			w.Header().Set("Content-Type", "application/json")
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				result = map[string]string{"error": err.Error()}
			}
			encoder := json.NewEncoder(w)
			encoder.SetIndent("", "  ")
			_ = encoder.Encode(result)
		})
	}

	handle("GET /{$}", func(*http.Request) (any, error) {
		return map[string]any{
			"apiserver": apiserver(l), "routes": l.Routes.List(), "double": l.Double.Settings(),
			"loadbalancer": l.LB.Settings(), "pods": l.Nodes.Rules(), "faults": l.Faults.List(),
		}, nil
	})
	handle("POST /reset", func(r *http.Request) (any, error) {
		started := time.Now()
		err := l.Reset(r.Context())
		return map[string]string{"took": time.Since(started).Round(time.Millisecond).String()}, err
	})
	handle("GET /apiserver", func(*http.Request) (any, error) { return apiserver(l), nil })
	handle("POST /apiserver", func(r *http.Request) (any, error) {
		var body struct {
			Action lab.Action `json:"action"`
		}
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		err := l.APIServer(body.Action)
		return apiserver(l), err
	})
	handleRoutes(handle, l)
	handlePods(handle, l)
	handleFaults(handle, l)
	handle("GET /double", func(*http.Request) (any, error) { return l.Double.Settings(), nil })
	handle("PATCH /double", func(r *http.Request) (any, error) {
		// Only the fields that are sent change.
		settings := l.Double.Settings()
		if err := decode(r, &settings); err != nil {
			return nil, err
		}
		if err := settings.Validate(); err != nil {
			return nil, err
		}
		l.Double.Set(settings)
		return settings, nil
	})
	handle("GET /loadbalancer", func(*http.Request) (any, error) { return l.LB.Settings(), nil })
	handle("PATCH /loadbalancer", func(r *http.Request) (any, error) {
		settings := l.LB.Settings()
		if err := decode(r, &settings); err != nil {
			return nil, err
		}
		l.LB.Set(settings)
		return settings, nil
	})
	return mux
}

type register = func(pattern string, act func(r *http.Request) (any, error))

func handleRoutes(handle register, l *lab.Lab) {
	handle("GET /routes", func(*http.Request) (any, error) { return l.Routes.List(), nil })
	handle("PUT /routes", func(r *http.Request) (any, error) {
		var body route
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		err := l.Routes.Set(body.Namespace, body.Service, body.Port, body.Address)
		return l.Routes.List(), err
	})
	handle("DELETE /routes", func(r *http.Request) (any, error) {
		var body route
		if err := decode(r, &body); err != nil {
			return nil, err
		}
		err := l.Routes.Remove(body.Namespace, body.Service, body.Port)
		return l.Routes.List(), err
	})
}

func handlePods(handle register, l *lab.Lab) {
	handle("GET /pods", func(*http.Request) (any, error) { return l.Nodes.Rules(), nil })
	handle("POST /pods", func(r *http.Request) (any, error) {
		var rule nodes.Rule
		if err := decode(r, &rule); err != nil {
			return nil, err
		}
		// The newest rule wins over older ones.
		err := l.Nodes.SetRules(append([]nodes.Rule{rule}, l.Nodes.Rules()...))
		return l.Nodes.Rules(), err
	})
	handle("PUT /pods", func(r *http.Request) (any, error) {
		var rules []nodes.Rule
		if err := decode(r, &rules); err != nil {
			return nil, err
		}
		err := l.Nodes.SetRules(rules)
		return l.Nodes.Rules(), err
	})
	handle("DELETE /pods", func(*http.Request) (any, error) { return []nodes.Rule{}, l.Nodes.SetRules(nil) })
}

func handleFaults(handle register, l *lab.Lab) {
	handle("GET /faults", func(*http.Request) (any, error) { return l.Faults.List(), nil })
	handle("POST /faults", func(r *http.Request) (any, error) {
		var rule faultproxy.Rule
		if err := decode(r, &rule); err != nil {
			return nil, err
		}
		return l.Faults.Add(rule)
	})
	remove := func(r *http.Request) (any, error) {
		l.Faults.Remove(r.PathValue("id"))
		return l.Faults.List(), nil
	}
	handle("DELETE /faults", remove)
	handle("DELETE /faults/{id}", remove)
}

func apiserver(l *lab.Lab) map[string]any {
	return map[string]any{"pid": l.API.PID(), "url": l.API.URL}
}

// decode refuses unknown fields: a misspelt fault would otherwise do nothing, silently.
func decode(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("parse request body: %w", err)
	}
	return nil
}

// Call sends one request to a lab's endpoint and returns the answer's body.
func Call(base, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequest(method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("call the lab: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(answer))
	}
	return answer, err
}
