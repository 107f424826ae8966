// This file serves HTTP on a single stream, such as one port-forwarded connection.
package kubelet

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// serveStream serves HTTP on a stream and returns when either side is done with it.
func serveStream(stream io.ReadWriteCloser, handler http.Handler) {
	// A pipe in between has the deadlines that an HTTP server needs and a stream lacks.
	outside, inside := net.Pipe()
	listener := &oneConn{conn: make(chan net.Conn, 1), done: make(chan struct{})}
	listener.conn <- inside
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Hour,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed || state == http.StateHijacked {
				_ = listener.Close()
			}
		},
	}
	go func() { _ = server.Serve(listener) }()
	go func() {
		_, _ = io.Copy(outside, stream)
		_ = outside.Close()
	}()
	_, _ = io.Copy(stream, outside)
	_ = outside.Close()
}

// oneConn is a listener that accepts one connection and ends with it.
type oneConn struct {
	conn chan net.Conn
	done chan struct{}
	once sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conn:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
