// Tests of the routes: where webhooks may lead, and what the API server says when they lead nowhere.
package controlplane

import (
	"context"
	"testing"
)

func TestUnroutedServiceHasNoEndpoints(t *testing.T) {
	_, err := Routes{Folder: t.TempDir()}.ResolveEndpoint("istio-system", "istiod", 443)
	if err == nil || err.Error() != `no endpoints available for service "istiod"` {
		t.Fatalf("got %v", err)
	}
}

func TestRouteResolvesUntilItIsRemoved(t *testing.T) {
	routes := Routes{Folder: t.TempDir()}
	if err := routes.Set("istio-system", "istiod", 443, "127.0.0.1:4000"); err != nil {
		t.Fatal(err)
	}
	url, err := routes.ResolveEndpoint("istio-system", "istiod", 443)
	if err != nil || url.String() != "https://127.0.0.1:4000" {
		t.Fatalf("got %v, %v", url, err)
	}
	if got := routes.List()["istio-system.istiod.443"]; got != "127.0.0.1:4000" {
		t.Fatalf("list has %q", got)
	}
	if err := routes.Remove("istio-system", "istiod", 443); err != nil {
		t.Fatal(err)
	}
	if _, err := routes.ResolveEndpoint("istio-system", "istiod", 443); err == nil {
		t.Fatal("still resolves")
	}
}

func TestNothingButLoopbackIsAccepted(t *testing.T) {
	for _, address := range []string{"10.96.0.1:443", "192.0.2.1:80", "example.com:443", "[2001:db8::1]:443"} {
		if err := (Routes{Folder: t.TempDir()}).Set("a", "b", 443, address); err == nil {
			t.Errorf("route to %s was accepted", address)
		}
		if conn, err := DialLoopback(context.Background(), "tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("connected to %s", address)
		}
	}
}
