// This file is the proxy itself. It speaks HTTP/1.1 only: there a reset ends one request, not all of a client's at once.
package faultproxy

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshrun/lab/pki"
)

// Proxy is the running proxy.
type Proxy struct {
	// URL is where clients connect, on loopback.
	URL string
	Rules

	forward *httputil.ReverseProxy
}

// Start starts a proxy before the API server at target, with the API server's own certificate.
func Start(target string, ca []byte, serving pki.Pair) (*Proxy, error) {
	backend, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	certificate, err := serving.TLS()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	p := &Proxy{
		URL: "https://" + listener.Addr().String(),
		forward: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(backend)
				r.Out.Host = r.In.Host
			},
			// Watches must reach the client line by line.
			FlushInterval: -1,
			ErrorLog:      quiet,
			Transport: &http.Transport{
				TLSClientConfig:     &tls.Config{RootCAs: roots},
				MaxIdleConnsPerHost: 100,
				IdleConnTimeout:     30 * time.Second,
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { reset(w) },
		},
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 30 * time.Second, ErrorLog: quiet}
	server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	go func() {
		_ = server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	}()
	return p, nil
}

// ServeHTTP passes a request on, or does what a rule says.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rule := p.pick(r)
	if rule == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	if rule.AfterServer {
		p.forward.ServeHTTP(&discard{header: http.Header{}}, r)
	}
	if rule.Delay > 0 {
		select {
		case <-time.After(rule.Delay.Std()):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case rule.Reset:
		reset(w)
	case rule.Status != 0:
		answer(w, rule)
	case rule.CutAfter > 0:
		cut := &cutter{ResponseWriter: w, left: rule.CutAfter}
		p.forward.ServeHTTP(cut, r)
	case rule.AfterServer:
		reset(w)
	default:
		p.forward.ServeHTTP(w, r)
	}
}

// answer sends the Status object that the API server itself would send with such a code.
func answer(w http.ResponseWriter, rule *Rule) {
	message := rule.Message
	if message == "" {
		message = http.StatusText(rule.Status)
	}
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Message: message, Reason: reasons[rule.Status], Code: int32(rule.Status),
	}
	if rule.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(rule.RetryAfter))
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(rule.RetryAfter)}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(rule.Status)
	_ = json.NewEncoder(w).Encode(status)
}

var reasons = map[int]metav1.StatusReason{
	http.StatusUnauthorized:        metav1.StatusReasonUnauthorized,
	http.StatusForbidden:           metav1.StatusReasonForbidden,
	http.StatusNotFound:            metav1.StatusReasonNotFound,
	http.StatusConflict:            metav1.StatusReasonConflict,
	http.StatusTooManyRequests:     metav1.StatusReasonTooManyRequests,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
	http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
	http.StatusGatewayTimeout:      metav1.StatusReasonTimeout,
}

// reset ends the client's connection with a TCP reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if secure, ok := conn.(*tls.Conn); ok {
		// Closing the TLS layer would send a proper goodbye first.
		conn = secure.NetConn()
	}
	if raw, ok := conn.(*net.TCPConn); ok {
		_ = raw.SetLinger(0)
	}
	_ = conn.Close()
}

// cutter lets so many bytes of an answer pass, then resets the connection.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(data []byte) (int, error) {
	if int64(len(data)) < c.left {
		c.left -= int64(len(data))
		return c.ResponseWriter.Write(data)
	}
	_, _ = c.ResponseWriter.Write(data[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	reset(c.ResponseWriter)
	panic(http.ErrAbortHandler)
}

// Unwrap lets the response controller find Flush and Hijack.
func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// discard takes an answer that the client shall not see.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header            { return d.header }
func (d *discard) Write(data []byte) (int, error) { return len(data), nil }
func (d *discard) WriteHeader(int)                {}
