package main

import "encoding/json"

// defaulted fills in what the API server would: the schemas of the Gateway API
// have defaults, and Istio relies on them.
func defaulted(raw []byte) ([]byte, error) {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	spec, _ := object["spec"].(map[string]any)
	for _, parent := range maps(spec["parentRefs"]) {
		set(parent, "group", "gateway.networking.k8s.io")
		set(parent, "kind", "Gateway")
	}
	for _, listener := range maps(spec["listeners"]) {
		set(listener, "allowedRoutes", map[string]any{})
		allowed, _ := listener["allowedRoutes"].(map[string]any)
		set(allowed, "namespaces", map[string]any{})
		namespaces, _ := allowed["namespaces"].(map[string]any)
		set(namespaces, "from", "Same")
	}
	for _, rule := range maps(spec["rules"]) {
		if object["kind"] == "HTTPRoute" {
			set(rule, "matches", []any{map[string]any{}})
		}
		for _, match := range maps(rule["matches"]) {
			if object["kind"] == "HTTPRoute" {
				set(match, "path", map[string]any{})
				path, _ := match["path"].(map[string]any)
				set(path, "type", "PathPrefix")
				set(path, "value", "/")
			} else if method, found := match["method"].(map[string]any); found {
				set(method, "type", "Exact")
			}
			for _, list := range []string{"headers", "queryParams"} {
				for _, condition := range maps(match[list]) {
					set(condition, "type", "Exact")
				}
			}
		}
		for _, backend := range maps(rule["backendRefs"]) {
			set(backend, "group", "")
			set(backend, "kind", "Service")
			set(backend, "weight", 1)
		}
		for _, filter := range maps(rule["filters"]) {
			if redirect, found := filter["requestRedirect"].(map[string]any); found {
				set(redirect, "statusCode", 302)
			}
		}
	}
	return json.Marshal(object)
}

func set(object map[string]any, field string, value any) {
	if object == nil {
		return
	}
	if _, found := object[field]; !found {
		object[field] = value
	}
}

func maps(list any) []map[string]any {
	var found []map[string]any
	entries, _ := list.([]any)
	for _, entry := range entries {
		if object, is := entry.(map[string]any); is {
			found = append(found, object)
		}
	}
	return found
}
