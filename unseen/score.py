import json
rows = json.load(open("unseen/rows.json"))
N = """conv1d[shift]|causal attention[axis]|causal attention[qk swap]|LayerNorm[eps out fwd]|BatchNorm[features]|GroupNorm[per channel]|GroupNorm[m channels]|weight norm[no proj]|weight norm[no norm]|weight norm[v proj]|weight norm[g raw]|weight norm[x raw v]|softplus beta=2[from y no beta]|hardswish[x/3]|GRU cell[z for 1-z]|GRU cell[sigmoid' for tanh']|GRU cell[z sign]|GRU cell[r no sig']|GRU cell[no r in U]|GRU cell[no direct]|LSTM cell[no h path]|LSTM cell[c for tanh c]|LSTM cell[no c in]|LSTM cell[o no tanh]|LSTM cell[new c]|LSTM cell[g sig]|LSTM cell[i for f]|LSTM cell[new c+i for f]|RNN through time[h_t]|RNN through time[tanh' prev]|avg pool[tile]|embedding by one-hot[mean]|rotary[off by one]|logsumexp[max]|log softmax[softmax's]|label smoothing[K-1]|weighted CE[per class]|pinball 0.8[swap]|Adam[t-1]|RMSprop centered momentum[swapped]|Adagrad lr_decay[decay]|Adadelta[eps out]|Adadelta[new]|Adamax[bc u]|NAdam[const mu]|NAdam[same prod]|NAdam[mu for mu1]|RAdam[no bc]|RAdam[4]|soft Lion[update first]|soft Lion[b1 in m]|soft Lion[no wd]""".split("|")
M = """quadratic form[2A]|LayerNorm[xc]|ELU alpha=1.5[y plus 1]|hardswish[zero above]|max pool[min]|rotary[same direction]|Huber 0.7[no clip]|multi-class hinge[one]|weighted CE[only true]|BCE with pos_weight[all w]""".split("|")
# right, but vague or with a guess in brackets / cryptic words that is not the reader's fault
W = """scaled linear[dW no scale]|scaled linear[scale twice]|scaled linear[b scaled]|scaled linear[dW no scale+scale twice]|softplus beta=2[times beta]|low-rank adapter[no s]|low-rank adapter[s2]|low-rank adapter[no adapter+s2]|InfoNCE[no tau]|avg pool[no /k]|LayerNorm[gamma outside means]|BatchNorm[const]|logsumexp[no norm]|mixture of experts[uniform]|highway[t skip]|dice[U]|log cosh[sech2]|Adam[1-b1]|RMSprop centered momentum[no 1-a]|weighted CE[N]|weighted CE[no w]|weighted CE[mean fwd]""".split("|")
P = """causal attention[PT+q no scale]|LayerNorm[unbiased bwd]|LSTM cell[if swap]|RNN through time[carry before act]|RNN through time[WhT+h_t]""".split("|")
names = {r["name"] for r in rows}
assert set(N + M + W + P) <= names, set(N + M + W + P) - names
res = {}
for r in rows:
    if r["right"]: continue
    n = r["name"]
    v = "none" if n in N else "misleading" if n in M else "partly" if n in P else "right, wording" if n in W else "right"
    r["score"] = v
    res.setdefault(r["kind"], {}).setdefault(v, 0); res[r["kind"]][v] += 1
for k, d in res.items(): print(k, sum(d.values()), d)
tot = {}
for d in res.values():
    for v, c in d.items(): tot[v] = tot.get(v, 0) + c
print("all", sum(tot.values()), tot)
two = [r for r in rows if r.get("two")]
print("two", len(two), [(r["name"], r["score"]) for r in two if not r["score"].startswith("right")])
print("slow wall", len([r for r in rows if r["seconds"] > 10]), "right slowest", max(r["seconds"] for r in rows if r["right"]))
s = sorted(r["seconds"] for r in rows if not r["right"]); print("wrong median", s[len(s)//2], "p90", s[int(.9*len(s))])
json.dump([r for r in rows], open("unseen/scores.json", "w"), indent=1)
