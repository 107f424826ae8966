# The manual guide, steps 1 to 8 and 10. HELM, KUBECTL, CHARTS and WAIT (`--wait` or nothing) come from outside.
apply() { "$KUBECTL" apply -f - >/dev/null; }
install() {
    local release=$1 chart=$2
    shift 2
    "$HELM" upgrade --install "$release" "$CHARTS/$chart.tgz" --namespace istio-system $WAIT "$@" >/dev/null
}

"$KUBECTL" create namespace istio-system --dry-run=client -o yaml | apply
"$KUBECTL" label namespace istio-system app.kubernetes.io/managed-by=manual --overwrite >/dev/null

install istio-base base-1.19.3 --set global.istioNamespace=istio-system

# The guide also sets pilot.env.PILOT_TRACE_SAMPLING, which the chart renders itself; helm 3 warns and goes on.
install istiod istiod-1.19.3 \
    --set global.istioNamespace=istio-system \
    --set global.meshID=eks-cluster \
    --set global.network=eks-cluster \
    --set pilot.resources.requests.cpu=100m \
    --set pilot.resources.requests.memory=128Mi \
    --set pilot.resources.limits.cpu=500m \
    --set pilot.resources.limits.memory=2Gi \
    --set pilot.env.EXTERNAL_ISTIOD=false \
    --set pilot.env.PILOT_TRACE_SAMPLING=1.0 \
    --set pilot.env.PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION=true \
    --set pilot.env.PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY=true \
    --set pilot.traceSampling=1.0 \
    --set telemetry.v2.enabled=true \
    --set meshConfig.accessLogFile=/dev/stdout \
    --set meshConfig.defaultConfig.gatewayTopology.numTrustedProxies=2 \
    --set meshConfig.defaultConfig.tracing.sampling=1.0

for crd in gateways virtualservices destinationrules; do
    while ! "$KUBECTL" get crd "$crd.networking.istio.io" >/dev/null 2>&1; do sleep 10; done
done

# The one fix: `--set-string`, because an annotation's value must be a string.
install istio-gateway gateway-1.19.3 \
    --set service.type=LoadBalancer \
    --set service.annotations."service\.beta\.kubernetes\.io/aws-load-balancer-type"=nlb \
    --set-string service.annotations."service\.beta\.kubernetes\.io/aws-load-balancer-cross-zone-load-balancing-enabled"=true \
    --set service.annotations."service\.beta\.kubernetes\.io/aws-load-balancer-backend-protocol"=tcp \
    --set resources.requests.cpu=100m \
    --set resources.requests.memory=128Mi \
    --set resources.limits.cpu=2000m \
    --set resources.limits.memory=1024Mi \
    --set autoscaling.enabled=true \
    --set autoscaling.minReplicas=2 \
    --set autoscaling.maxReplicas=4 \
    --set autoscaling.targetCPUUtilizationPercentage=80 \
    --set podDisruptionBudget.minAvailable=1

apply <<'EOF'
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: { name: default-gateway, namespace: istio-system }
spec:
  selector: { istio: gateway }
  servers:
  - port: { number: 80, name: http, protocol: HTTP }
    hosts: ["*"]
    tls: { httpsRedirect: true }
  - port: { number: 443, name: https, protocol: HTTPS }
    hosts: ["*"]
    tls: { mode: SIMPLE, credentialName: default-gateway-certs }
EOF
apply <<'EOF'
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
EOF
apply <<'EOF'
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: { name: default, namespace: istio-system }
spec:
  host: "*.local"
  trafficPolicy: { tls: { mode: ISTIO_MUTUAL } }
EOF
apply <<'EOF'
apiVersion: telemetry.istio.io/v1alpha1
kind: Telemetry
metadata: { name: default, namespace: istio-system }
spec:
  metrics:
  - providers: [{ name: prometheus }]
  tracing:
  - providers: [{ name: tempo }]
    customTags:
      cluster_name: { literal: { value: eks-cluster } }
      environment: { literal: { value: production } }
  accessLogging:
  - providers: [{ name: otel }]
EOF

observability=observability.svc.cluster.local
install kiali-server kiali-server-1.74.0 \
    --set auth.strategy=anonymous \
    --set deployment.resources.requests.cpu=100m \
    --set deployment.resources.requests.memory=128Mi \
    --set deployment.resources.limits.cpu=500m \
    --set deployment.resources.limits.memory=1Gi \
    --set external_services.prometheus.url=http://prometheus-kube-prometheus-prometheus.$observability:9090 \
    --set external_services.grafana.enabled=true \
    --set external_services.grafana.in_cluster_url=http://grafana.$observability:3000 \
    --set external_services.tracing.enabled=true \
    --set external_services.tracing.in_cluster_url=http://tempo-query-frontend.$observability:3200 \
    --set server.web_root=/kiali
