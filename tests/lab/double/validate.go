// This file is /validate: it refuses objects that a real istiod refuses for reasons the CRD schemas do not know.
package double

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func (i *instance) validate(w http.ResponseWriter, r *http.Request) {
	review(w, r, func(request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		if request.Operation == admissionv1.Delete {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		object := &unstructured.Unstructured{}
		if err := json.Unmarshal(request.Object.Raw, &object.Object); err != nil {
			return refuse("cannot decode configuration: %v", err)
		}
		if err := check(object); err != nil {
			i.logf("info\tvalidationServer\tconfiguration is invalid: %v", err)
			return refuse("configuration is invalid: %v", err)
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
}

// check returns what is wrong with an Istio object, nil when it looks fine.
func check(object *unstructured.Unstructured) error {
	spec, _, _ := unstructured.NestedMap(object.Object, "spec")
	switch object.GetKind() {
	case "Gateway":
		return checkGateway(spec)
	case "VirtualService":
		return checkVirtualService(spec)
	case "DestinationRule":
		if text(spec, "host") == "" {
			return errors.New("domain name \"\" invalid (empty)")
		}
		return checkSubsets(spec)
	case "ServiceEntry":
		if len(list(spec, "hosts")) == 0 {
			return errors.New("service entry must have at least one host")
		}
	case "PeerAuthentication":
		return checkPeerAuthentication(spec)
	case "AuthorizationPolicy":
		return checkAuthorizationPolicy(spec)
	}
	return nil
}

func checkGateway(spec map[string]any) error {
	servers := list(spec, "servers")
	if len(servers) == 0 {
		return errors.New("gateway must have at least one server")
	}
	names := map[string]bool{}
	for _, server := range servers {
		port := object(server, "port")
		if port == nil {
			return errors.New("port is required")
		}
		if number := integer(port, "number"); number < 1 || number > 65535 {
			return fmt.Errorf("port number %d must be in the range 1..65535", number)
		}
		name := text(port, "name")
		if name == "" {
			return errors.New("port name must be set")
		}
		if names[name] {
			return fmt.Errorf("port names in servers must be unique: duplicate name %s", name)
		}
		names[name] = true
		protocol := strings.ToUpper(text(port, "protocol"))
		known := []string{"HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"}
		if !slices.Contains(known, protocol) {
			return fmt.Errorf("invalid protocol %q, supported protocols are %s", text(port, "protocol"), strings.Join(known, ", "))
		}
		if len(list(server, "hosts")) == 0 {
			return errors.New("server config must contain at least one host")
		}
		if err := checkServerTLS(server, protocol); err != nil {
			return err
		}
	}
	return nil
}

func checkServerTLS(server map[string]any, protocol string) error {
	tls := object(server, "tls")
	secure := protocol == "HTTPS" || protocol == "TLS"
	if tls == nil {
		if secure {
			return errors.New("server must have TLS settings for HTTPS/TLS protocols")
		}
		return nil
	}
	mode := text(tls, "mode")
	if !secure && mode != "" && mode != "PASSTHROUGH" {
		return errors.New("server cannot have TLS settings for non HTTPS/TLS ports")
	}
	needsCertificate := mode == "" || mode == "SIMPLE" || mode == "MUTUAL"
	given := text(tls, "credentialName") != "" || text(tls, "serverCertificate") != "" || len(tls) > 0 && tls["credentialNames"] != nil
	if secure && needsCertificate && !given {
		return errors.New("SIMPLE TLS requires a server certificate")
	}
	return nil
}

func checkVirtualService(spec map[string]any) error {
	if len(list(spec, "http"))+len(list(spec, "tcp"))+len(list(spec, "tls")) == 0 {
		return errors.New("http, tcp or tls must be provided in virtual service")
	}
	if len(list(spec, "hosts")) == 0 {
		return errors.New("virtual service must have at least one host")
	}
	for _, route := range list(spec, "http") {
		if len(list(route, "route")) == 0 && route["redirect"] == nil && route["delegate"] == nil && route["directResponse"] == nil {
			return errors.New("HTTP route, redirect or direct_response is required")
		}
	}
	return nil
}

func checkSubsets(spec map[string]any) error {
	names := map[string]bool{}
	for _, subset := range list(spec, "subsets") {
		name := text(subset, "name")
		if name == "" || names[name] {
			return fmt.Errorf("subset name %q is empty or not unique", name)
		}
		names[name] = true
	}
	return nil
}

func checkPeerAuthentication(spec map[string]any) error {
	modes := []string{"", "UNSET", "DISABLE", "PERMISSIVE", "STRICT"}
	if mode := text(object(spec, "mtls"), "mode"); !slices.Contains(modes, mode) {
		return fmt.Errorf("unknown value %q for enum istio.security.v1beta1.PeerAuthentication_MutualTLS_Mode", mode)
	}
	ports := object(spec, "portLevelMtls")
	if len(ports) > 0 && object(spec, "selector") == nil {
		return errors.New("mesh/namespace peer authentication cannot have port level mTLS")
	}
	return nil
}

func checkAuthorizationPolicy(spec map[string]any) error {
	action := text(spec, "action")
	if !slices.Contains([]string{"", "ALLOW", "DENY", "AUDIT", "CUSTOM"}, action) {
		return fmt.Errorf("unknown value %q for enum istio.security.v1beta1.AuthorizationPolicy_Action", action)
	}
	rules, hasRules := spec["rules"]
	if action == "CUSTOM" && text(object(spec, "provider"), "name") == "" {
		return errors.New("`provider.name` must not be empty")
	}
	if (action == "DENY" || action == "AUDIT") && (!hasRules || rules == nil) {
		return fmt.Errorf("a %s policy without `rules` is meaningless and has no effect, found in .", action)
	}
	for n, rule := range list(spec, "rules") {
		for _, part := range []string{"from", "to", "when"} {
			if value, ok := rule[part].([]any); ok && len(value) == 0 {
				return fmt.Errorf("`%s` cannot be empty, found in rule %d", part, n)
			}
		}
	}
	return nil
}

// The helpers below read decoded JSON and take anything missing or of another type as empty.

func text(parent map[string]any, key string) string {
	value, _ := parent[key].(string)
	return value
}

func integer(parent map[string]any, key string) int64 {
	switch value := parent[key].(type) {
	case int64:
		return value
	case float64:
		return int64(value)
	}
	return 0
}

func object(parent map[string]any, key string) map[string]any {
	value, _ := parent[key].(map[string]any)
	return value
}

// list returns the entries of a list; those that are not objects count as empty ones.
func list(parent map[string]any, key string) []map[string]any {
	values, _ := parent[key].([]any)
	var result []map[string]any
	for _, value := range values {
		entry, _ := value.(map[string]any)
		result = append(result, entry)
	}
	return result
}
