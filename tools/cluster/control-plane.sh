# etcd, kube-apiserver, kube-controller-manager and kube-scheduler. Sourced by up.sh.

start_control_plane() {
  local etcd=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$((ETCD_PORT + 1))
  start etcd "$BIN/etcd" --name kubembed --data-dir "$RUN/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "kubembed=$peer"
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers "$etcd" \
    --bind-address "$(any_address)" --advertise-address "$API_IP" --secure-port $API_PORT \
    --service-cluster-ip-range "$(listed services)" --service-node-port-range 30000-30999 \
    --client-ca-file "$PKI/ca.crt" --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$PKI/service-accounts.pub" --service-account-signing-key-file "$PKI/service-accounts.key" \
    --kubelet-client-certificate "$PKI/apiserver-kubelet.crt" --kubelet-client-key "$PKI/apiserver-kubelet.key" \
    --kubelet-certificate-authority "$PKI/ca.crt" --kubelet-preferred-address-types InternalIP \
    --requestheader-client-ca-file "$PKI/ca.crt" --requestheader-allowed-names front-proxy-client \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$PKI/front-proxy.crt" --proxy-client-key-file "$PKI/front-proxy.key" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true \
    --feature-gates ImageVolume=true $(eviction_flags) \
    --audit-policy-file "$HERE/manifests/audit-policy.yaml" --audit-log-path "$LOG/audit.jsonl" --profiling=false
  wait_for 120 kube-apiserver "$BIN/kubectl" get --raw /readyz
  # One of each, so no leader election: it would only delay the start.
  start kube-controller-manager "$BIN/kube-controller-manager" $(client_flags controller-manager) \
    --bind-address 127.0.0.1 --leader-elect=false $(loss_flags) --use-service-account-credentials \
    --root-ca-file "$PKI/ca.crt" --service-account-private-key-file "$PKI/service-accounts.key" \
    --allocate-node-cidrs --cluster-cidr "$(listed all_pods)" --service-cluster-ip-range "$(listed services)" \
    --flex-volume-plugin-dir "$RUN/volume-plugins" --profiling=false
  start kube-scheduler "$BIN/kube-scheduler" $(client_flags scheduler) --bind-address 127.0.0.1 --leader-elect=false --profiling=false
}

client_flags() { echo "--kubeconfig $RUN/$1.kubeconfig --authentication-kubeconfig $RUN/$1.kubeconfig --authorization-kubeconfig $RUN/$1.kubeconfig"; }

# One node alone is never lost: a manager that lives through an outage of the API server takes the node for dead, whose Lease could not
# be renewed either, and every pod for unready. Where there are several, one that is lost shall be found lost soon, and its pods replaced.
is_alone() { [ "$(nodes | wc -l)" = 1 ]; }
loss_flags() { echo --node-monitor-grace-period "$(is_alone && echo 1h0m0s || echo 20s)"; }
eviction_flags() { is_alone || echo --default-not-ready-toleration-seconds 5 --default-unreachable-toleration-seconds 5; }
