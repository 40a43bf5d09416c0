// What Flux and Argo CD make of objects, by their own code. Objects come on stdin as a JSON array; the answer is JSON.
//
//	gitops health CONFIGMAP EXPRESSIONS   a verdict for each object: kstatus, Flux's health check expressions, Argo CD's health
//	                                      and resource actions
//	gitops action CONFIGMAP NAME          the merge patch that Argo CD sends for a resource action on the one object
//	gitops apply KUBECONFIG [force]       what Flux's server-side apply of all objects together changed, or why not
//
// CONFIGMAP is a part of argocd-cm, EXPRESSIONS a list as in a Kustomization's spec.healthCheckExprs.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

type state struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

type verdict struct {
	Name    string   `json:"name"`
	Kstatus state    `json:"kstatus"`
	Flux    *state   `json:"flux,omitempty"`
	Argo    *state   `json:"argo,omitempty"`
	Actions []string `json:"actions"`
}

func main() {
	answer, err := run(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func run(args []string) (any, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("usage: gitops health|action|apply FILE …")
	}
	objects, err := read()
	if err != nil {
		return nil, err
	}
	switch {
	case args[0] == "health" && len(args) == 3:
		return health(args[1], args[2], objects)
	case args[0] == "action" && len(args) == 3 && len(objects) == 1:
		return action(args[1], args[2], objects[0])
	case args[0] == "apply":
		return apply(args[1], len(args) == 3 && args[2] == "force", objects)
	}
	return nil, fmt.Errorf("cannot do %q", args)
}

// read takes the objects by unstructured's own decoder, as other numbers than int64 make it panic.
func read() ([]*unstructured.Unstructured, error) {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, one := range raw {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(one); err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// overrides reads the keys as Argo CD's settings manager does: resource.customizations.<what>.<group>_<kind>.
func overrides(file string) (map[string]v1alpha1.ResourceOverride, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var config corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return nil, err
	}
	all := map[string]v1alpha1.ResourceOverride{}
	for key, value := range config.Data {
		parts := strings.SplitN(key, ".", 4)
		if len(parts) != 4 || parts[0] != "resource" || parts[1] != "customizations" {
			return nil, fmt.Errorf("%s is no customization of a resource", key)
		}
		kind := strings.Replace(parts[3], "_", "/", 1)
		override := all[kind]
		switch parts[2] {
		case "health":
			override.HealthLua = value
		case "actions":
			override.Actions = value
		default:
			return nil, fmt.Errorf("%s: what is %s?", key, parts[2])
		}
		all[kind] = override
	}
	return all, nil
}

func health(configMap, expressions string, objects []*unstructured.Unstructured) (any, error) {
	customizations, err := overrides(configMap)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(expressions)
	if err != nil {
		return nil, err
	}
	var checks []kustomize.CustomHealthCheck
	if err := yaml.UnmarshalStrict(text, &checks); err != nil {
		return nil, err
	}
	evaluators := map[string]*cel.StatusEvaluator{}
	for _, check := range checks {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, err
		}
		evaluators[check.APIVersion+"/"+check.Kind] = evaluator
	}
	var verdicts []verdict
	for _, object := range objects {
		one, err := judge(customizations, evaluators, object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", object.GetName(), err)
		}
		verdicts = append(verdicts, one)
	}
	return verdicts, nil
}

func judge(customizations map[string]v1alpha1.ResourceOverride, evaluators map[string]*cel.StatusEvaluator,
	object *unstructured.Unstructured,
) (verdict, error) {
	one := verdict{Name: object.GetName(), Actions: []string{}}
	computed, err := status.Compute(object)
	if err != nil {
		return one, err
	}
	one.Kstatus = state{string(computed.Status), computed.Message}
	if evaluator := evaluators[object.GetAPIVersion()+"/"+object.GetKind()]; evaluator != nil {
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return one, err
		}
		one.Flux = &state{string(result.Status), result.Message}
	}
	found, err := lua.ResourceHealthOverrides(customizations).GetResourceHealth(object)
	if err != nil {
		return one, err
	}
	if found != nil {
		one.Argo = &state{string(found.Status), found.Message}
	}
	vm := lua.VM{ResourceOverrides: customizations}
	scripts, err := vm.GetResourceActionDiscovery(object)
	if err != nil || len(scripts) == 0 {
		return one, err
	}
	actions, err := vm.ExecuteResourceActionDiscovery(object, scripts)
	for _, action := range actions {
		if !action.Disabled {
			one.Actions = append(one.Actions, action.Name)
		}
	}
	return one, err
}

func action(configMap, name string, object *unstructured.Unstructured) (any, error) {
	customizations, err := overrides(configMap)
	if err != nil {
		return nil, err
	}
	vm := lua.VM{ResourceOverrides: customizations}
	definition, err := vm.GetResourceAction(object, name)
	if err != nil {
		return nil, err
	}
	impacted, err := vm.ExecuteResourceAction(object, definition.ActionLua, nil)
	if err != nil {
		return nil, err
	}
	if len(impacted) != 1 || impacted[0].K8SOperation != lua.PatchOperation {
		return nil, fmt.Errorf("%s does something else than to patch the object", name)
	}
	before, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	after, err := impacted[0].UnstructuredObj.MarshalJSON()
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.CreateMergePatch(before, after)
	return json.RawMessage(patch), err
}

func apply(kubeconfig string, force bool, objects []*unstructured.Unstructured) (any, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	kubernetes, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	manager := ssa.NewResourceManager(kubernetes, nil, ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"})
	options := ssa.DefaultApplyOptions()
	options.Force = force
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	changes, err := manager.ApplyAllStaged(ctx, objects, options)
	if err != nil {
		return map[string]string{"refused": err.Error()}, nil
	}
	made := map[string]string{}
	for _, entry := range changes.Entries {
		made[entry.Subject] = string(entry.Action)
	}
	return map[string]any{"made": made}, nil
}
