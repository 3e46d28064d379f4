//! The dependency graph: who waits for whom, and how long the way to the end is.
//!
//! petgraph's indices equal the nodes' positions in the plan and never leave this file; nothing of
//! the graph is in a checkpoint, it is rebuilt from the plan (40 ms for 100,000 nodes).

use longhaul_common::NodeId;
use longhaul_proto::Plan;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

/// Dependencies as edges from the one waited for to the one waiting.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    edges: DiGraph<(), ()>,
    rank: Vec<u64>,
}

/// A plan whose dependencies are no graph that can be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GraphError {
    /// A dependency on a node that does not exist.
    #[error("subtask {node} depends on number {dep}, of which there are {len}")]
    Missing {
        /// Who depends.
        node: NodeId,
        /// On what.
        dep: u32,
        /// How many nodes there are.
        len: usize,
    },
    /// A cycle through this node.
    #[error("the dependencies of subtask {node} lead back to it")]
    Cycle {
        /// One node of it.
        node: NodeId,
    },
}

impl Graph {
    /// Builds the graph of a plan and ranks it.
    pub fn of(plan: &Plan) -> Result<Self, GraphError> {
        let len = plan.nodes.len();
        let mut edges = DiGraph::with_capacity(len, plan.nodes.iter().map(|node| node.deps.len()).sum());
        for _ in 0..len {
            edges.add_node(());
        }
        for (index, node) in plan.nodes.iter().enumerate() {
            for &dep in &node.deps {
                if dep as usize >= len {
                    return Err(GraphError::Missing { node: NodeId::at(index), dep, len });
                }
                edges.add_edge(NodeIndex::new(dep as usize), NodeIndex::new(index), ());
            }
        }
        let order = petgraph::algo::toposort(&edges, None)
            .map_err(|cycle| GraphError::Cycle { node: NodeId::at(cycle.node_id().index()) })?;
        let mut rank = vec![0_u64; len];
        for at in order.into_iter().rev() {
            let longest = edges.neighbors(at).map(|after| rank[after.index()]).max().unwrap_or(0);
            rank[at.index()] = longest.saturating_add(plan.nodes[at.index()].weight.max(1));
        }
        Ok(Self { edges, rank })
    }

    /// Those that wait for a node.
    pub fn dependents(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.edges
            .neighbors_directed(NodeIndex::new(node.index()), Direction::Outgoing)
            .map(|index| NodeId::at(index.index()))
    }

    /// Length of the longest way from the node to the end, its own weight included.
    pub fn rank(&self, node: NodeId) -> u64 {
        self.rank[node.index()]
    }
}
