// The masked network of a block over one tile of events: 2 hidden layers of ReLUs.
#pragma once

#include "weight_gradient.hpp"

namespace onlineflows::ENGINE_ISA {

// The layers, as seen by one arithmetic. The first layer always multiplies in full precision.
template <class A>
class Network {
 public:
  using Real = typename A::Real;
  using Full = Direct<Real>;
  using Block = typename Workspace<Real>::Block;

  Network(const BlockPlan& plan, Packed<Real> packed, const Block& memory,
          const Workspace<Real>& workspace)
      : plan_(plan),
        packed_(packed),
        memory_(memory),
        workspace_(workspace),
        hidden_1_(A::panel(memory.hidden_1, workspace.passing_1)),
        hidden_2_(A::panel(memory.hidden_2, workspace.passing_2)),
        d_outputs_(A::panel(workspace.d_outputs, workspace.passing_out)) {}

  // Activations of rows of the hidden layers, from inputs that are in place.
  void forward_hidden(Span<RowBlock> rows_1, Span<RowBlock> rows_2) const {
    relu_product<Full>(plan_.layer_1, rows_1, memory_.inputs, hidden_1_);
    relu_product<A>(plan_.layer_2, rows_2, hidden_1_.by_rows, hidden_2_);
  }

  // Parameters of some targets' transforms.
  void forward_outputs(Span<RowBlock> rows) const {
    Real* outputs = memory_.outputs;
    product<A, Direction::forward>(rows, forward_weights<A>(plan_.layer_out), hidden_2_.by_rows,
                                   packed_.numbers + plan_.layer_out.biases,
                                   [outputs](int row, int event, auto& sums) {
                                     Full::keep(Panel<Full>{outputs, outputs}, row, event, sums);
                                   });
  }

  // Where the gradient with respect to target i's parameters is to be written.
  Real* d_rows(int i) const {
    return A::rows_for(d_outputs_, i * plan_.target_rows, workspace_.d_rows);
  }
  void take_d_rows(int i, Real* sums) const {
    const int first = i * plan_.target_rows;
    A::absorb(d_rows(i), d_outputs_, first, plan_.target_rows,
              sums + plan_.layer_out.bias_sums + long(first) * kPadding);
  }

  // Adds the gradients of all layers to `sums`, once those of the parameters are in place.
  void backward(Real* sums) const {
    const LayerPlan& out = plan_.layer_out;
    const LayerPlan& two = plan_.layer_2;
    const LayerPlan& one = plan_.layer_1;
    const Panel<A> d_hidden_2 = A::panel(workspace_.d_hidden_2, workspace_.passing_2);
    const Panel<Full> d_hidden_1 = Full::panel(workspace_.d_hidden_1, nullptr);
    add_weight_gradient(out, d_outputs_, hidden_2_.by_events, plan_.hidden_2, sums);
    gated_product<A>(out, d_outputs_.by_rows, hidden_2_, d_hidden_2, sums + two.bias_sums);
    add_weight_gradient(two, d_hidden_2, hidden_1_.by_events, plan_.hidden_1, sums);
    gated_product<Full>(two, d_hidden_2.by_rows, hidden_1_, d_hidden_1, sums + one.bias_sums);
    input_weight_gradient<Real>(one.forward, {d_hidden_1.by_events, memory_.inputs,
                                              sums + one.weight_sums, plan_.n_inputs});
  }

  // Gradients with respect to the inputs, into the workspace.
  void backward_inputs() const {
    Real* d_inputs = workspace_.d_inputs;
    product<Full, Direction::backward>(
        plan_.layer_1.backward,
        Weights<Full>{packed_.numbers + plan_.layer_1.weights, plan_.layer_1.leading},
        workspace_.d_hidden_1, nullptr, [d_inputs](int row, int event, auto& sums) {
          Full::keep(Panel<Full>{d_inputs, d_inputs}, row, event, sums);
        });
  }

 private:
  template <class B>
  Weights<B> forward_weights(const LayerPlan& layer) const {
    return {B::forward_weights(layer, packed_), layer.leading / B::kPer};
  }

  template <class B>
  void relu_product(const LayerPlan& layer, Span<RowBlock> rows, const typename B::Element* operand,
                    Panel<A> to) const {
    product<B, Direction::forward>(rows, forward_weights<B>(layer), operand,
                                   packed_.numbers + layer.biases,
                                   [to](int row, int event, auto& sums) {
                                     for (auto& line : sums) {
                                       for (auto& sum : line) sum = positive_part(sum);
                                     }
                                     A::keep(to, row, event, sums);
                                   });
  }

  // d(loss)/d(a layer's inputs), gated by their activation; adds its sums over the events.
  template <class B>
  void gated_product(const LayerPlan& layer, const typename A::Element* operand,
                     Panel<A> activation, Panel<B> to, Real* bias_sums) const {
    const Weights<A> weights{A::backward_weights(layer, packed_), layer.leading};
    product<A, Direction::backward>(layer.backward, weights, operand, nullptr,
                                    [activation, to, bias_sums](int row, int event, auto& sums) {
                                      A::gate(activation, row, event, sums);
                                      B::keep(to, row, event, sums);
                                      Real* at = bias_sums + long(row) * kPadding;
                                      for (auto& line : sums) {
                                        Vector<Real> total = load(at);
                                        for (auto& sum : line) total = total + sum;
                                        store(at, total);
                                        at += kPadding;
                                      }
                                    });
  }

  void add_weight_gradient(const LayerPlan& layer, Panel<A> d_outputs,
                           const typename A::Element* inputs, int n_inputs, Real* sums) const {
    // Elements are as wide as numbers, whatever they hold.
    transpose(reinterpret_cast<const Real*>(inputs), n_inputs, kTile / A::kPer,
              workspace_.transposed, layer.leading);
    const auto* turned = reinterpret_cast<const typename A::Element*>(workspace_.transposed);
    weight_gradient<A>(layer.gradient,
                       {d_outputs.by_events, turned, sums + layer.weight_sums, layer.leading});
  }

  const BlockPlan& plan_;
  Packed<Real> packed_;
  const Block& memory_;
  const Workspace<Real>& workspace_;
  Panel<A> hidden_1_;
  Panel<A> hidden_2_;
  Panel<A> d_outputs_;
};

}  // namespace onlineflows::ENGINE_ISA
