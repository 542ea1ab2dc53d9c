"""What the environment could change of a result, and how it is kept from it.

A run's name says all that decides its result, so nothing else may: the switches of JAX
and Flax are set for as long as a program runs (here, not on import: who calls a loss
in a program of their own keeps their switches), and what cannot be set is refused.
"""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
from PIL import ImageFile

from sslx.progress import say
from sslx.types import refuse_if

# Random streams, widths, promotion, precision, other ways of computing the same, and
# guards that end a sound program: each at JAX's and Flax's own value.
PINNED: dict[str, Any] = {
    "check_vma": False,
    "eager_constant_folding": False,
    "flax_fix_rng_separator": False,
    "flax_preserve_adopted_names": False,
    "flax_return_frozendict": False,
    "jax_accurate_erf_inv": False,
    "jax_allow_f16_reductions": True,
    "jax_array_garbage_collection_guard": None,
    "jax_auto_pcast": True,
    "jax_bcoo_cusparse_lowering": False,
    "jax_check_static_indices": False,
    "jax_check_tracer_leaks": False,
    "jax_compiler_enable_remat_pass": True,
    "jax_custom_jvp3": False,
    "jax_custom_vjp3": False,
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,
    "jax_debug_nans": False,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_disable_bwd_checks": False,
    "jax_disable_jit": False,
    "jax_disable_vmap_shmap_error": False,
    "jax_disallow_mesh_context_manager": False,
    "jax_embedded_constants_max_bytes": 32,
    "jax_enable_checks": False,
    "jax_enable_custom_prng": False,
    "jax_enable_x64": False,
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_experimental_unsafe_xla_runtime_errors": False,
    "jax_explicit_x64_dtypes": "warn",
    "jax_high_dynamic_range_gumbel": False,
    "jax_legacy_prng_key": "allow",
    "jax_mutable_array_checks": True,
    "jax_no_execution": False,
    "jax_no_tracing": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_raise_on_ppermute_sort_diff": True,
    "jax_random_seed_offset": 0,
    "jax_refs_to_pins": False,
    "jax_remat3": False,
    "jax_remat_barrier_no_cotangents": False,
    "jax_remove_size_one_mesh_axis_from_type": False,
    "jax_scan3": False,
    "jax_softmax_custom_jvp": False,
    "jax_sort_devices_by_process_index": True,
    "jax_thread_guard": False,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_threefry_partitionable": True,
    "jax_transfer_guard": None,  # sets the three below, so it comes first
    "jax_transfer_guard_device_to_device": None,
    "jax_transfer_guard_device_to_host": None,
    "jax_transfer_guard_host_to_device": None,
    "jax_use_direct_linearize": True,
    "jax_use_hlo_logistic_lowering": None,
    "jax_use_magma": "auto",
    "jax_use_shardy_partitioner": True,
    "jax_use_simplified_jaxpr_constants": False,
}

# Where it runs, how it is compiled and kept, what is logged or dumped, kernels that
# nothing here has. They change rounding at most, as other devices do.
_LEFT = """
flax_always_shard_variable flax_array_ref flax_filter_frames flax_hijax_variable
flax_max_repr_depth flax_profile flax_pytree_module flax_use_flaxlib
flax_use_orbax_checkpointing jax2tf_associative_scan_reductions
jax2tf_default_native_serialization jax_backend_target
jax_captured_constants_report_frames jax_captured_constants_warn_bytes
jax_check_proxy_envs jax_compilation_cache_check_contents jax_compilation_cache_dir
jax_compilation_cache_expect_pgle jax_compilation_cache_include_metadata_in_key
jax_compilation_cache_max_size jax_compiler_detailed_logging_min_ops
jax_cpu_collectives_implementation jax_cpu_enable_async_dispatch
jax_cpu_get_global_topology_timeout_minutes
jax_cpu_get_local_topology_timeout_minutes jax_cross_host_transfer_socket_address
jax_cross_host_transfer_timeout_seconds jax_cross_host_transfer_transfer_size
jax_cross_host_transport_addresses jax_cuda_visible_devices
jax_debug_leaked_clients_on_clear_backends jax_debug_log_modules jax_default_device
jax_disable_most_optimizations jax_distributed_debug
jax_distributed_verify_secure_credentials jax_dump_ir_modes jax_dump_ir_to
jax_enable_compilation_cache jax_enable_pgle jax_enable_preemption_service
jax_enable_recoverability jax_exec_time_optimization_effort jax_explain_cache_misses
jax_export_calling_convention_version jax_export_deserialize_expired_versions
jax_export_ignore_forward_compatibility jax_force_dcn_cross_host_transfers
jax_hlo_source_file_canonicalization_regex jax_include_debug_info_in_dumps
jax_include_full_tracebacks_in_locations jax_log_checkpoint_residuals
jax_log_compiles jax_logging_level jax_memory_fitting_effort
jax_memory_fitting_level jax_mock_gpu_topology jax_mosaic_allow_hlo
jax_mosaic_unzip_debug_locations jax_mtls_ca_file jax_mtls_cert_file
jax_mtls_key_file jax_mtls_peer_uri_prefix jax_num_cpu_devices
jax_numpy_rank_promotion jax_oneapi_visible_devices jax_optimization_level
jax_pallas_auto_assign_collective_ids jax_pallas_auto_assign_collective_ids_limit
jax_pallas_enable_debug_checks jax_pallas_poison_buffers jax_pallas_use_mosaic_gpu
jax_pallas_verbose_errors jax_persistent_cache_enable_xla_caches
jax_persistent_cache_min_compile_time_secs jax_persistent_cache_min_entry_size_bytes
jax_pgle_aggregation_percentile jax_pgle_profiling_runs
jax_pjrt_client_create_options jax_platform_name jax_platforms jax_pprint_use_color
jax_ragged_dot_use_gpu_pallas_triton_lowering
jax_ragged_dot_use_ragged_dot_instruction jax_raise_persistent_cache_errors
jax_remove_custom_partitioning_ptr_from_cache_key jax_rocm_visible_devices
jax_send_traceback_to_runtime jax_serialization_version
jax_share_binary_between_hosts jax_share_binary_between_hosts_timeout_ms
jax_source_url_schema jax_traceback_filtering jax_traceback_in_locations_limit
jax_tracer_error_num_traceback_frames jax_use_cpp_shard_args
jax_use_emit_pipeline_primitive jax_use_rgv3 jax_xla_backend jax_xla_profile_version
mock_num_gpu_processes nnx_graph_mode nnx_graph_updates nnx_sow_capture_noop
"""
LEFT = frozenset(_LEFT.split())

# What NumPy does about an overflow and its like: its own values.
_NUMPY: Any = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}

_HALVES = "LOAD_TRUNCATED_IMAGES"  # Pillow's

# Flags of XLA that make numbers narrower, or rules of floating point looser; all else
# that they do is layout, scheduling, memory, logs. XLA's own values are no change.
_LOOSE = re.compile(
    r"-*(\w*(?:fast_math|fast_min_max|precision|bf16|_ftz|approx|dependent_math"
    r"|strict_dot|unsafe_math|tf32|alg_dot)\w*)(?:=(\S*))?"
)
_HARMLESS = {
    ("xla_cpu_enable_fast_math", "false"),
    ("xla_enable_fast_math", "false"),
    ("xla_allow_excess_precision", "true"),
}


def switches() -> dict[str, Any]:
    """The switches that JAX and Flax have, and what holds in this thread."""
    return {**flax.config._values, **jax.config.values}


def _word(value: Any) -> Any:
    """A value as one would set it: JAX gives some as members of an enumeration."""
    return value.name.lower() if hasattr(value, "name") else value


def _set(name: str, value: Any) -> None:
    of_flax = name in flax.config._values
    (flax.config if of_flax else jax.config).update(name, value)


def _refuse_variables() -> None:
    """Refuses what XLA and CUDA have read, or will, where nobody can set it back."""
    for variable in ("XLA_FLAGS", "LIBTPU_INIT_ARGS"):
        text = os.environ.get(variable, "")
        if text and not text.lstrip().startswith("-") and os.path.isfile(text):
            text = Path(text).read_text(errors="replace")  # a file of flags
        for match in _LOOSE.finditer(text):
            name, value = match[1], (match[2] or "true").lower().strip("'\"")
            refuse_if(
                (name, {"0": "false", "1": "true"}.get(value, value)) not in _HARMLESS,
                f"{variable} has {match[0].strip()}, which changes results that are "
                f"named alike; take it out of {variable} and start again",
            )
    refuse_if(
        os.environ.get("NVIDIA_TF32_OVERRIDE") == "0",
        "NVIDIA_TF32_OVERRIDE=0 changes results that are named alike; unset it and "
        "start again",
    )


@contextmanager
def pinned() -> Iterator[None]:
    """Holds all switches that reach a result, and puts them back; says which it turned.

    Raises:
        UserError: A flag that loosens arithmetic is set, or a ``with`` block around
            holds a switch otherwise.
    """
    _refuse_variables()
    here = {name: _word(value) for name, value in switches().items()}
    # What a block such as ``with jax.enable_x64()`` sets holds in its thread alone,
    # and there goes before what is set for all.
    with ThreadPoolExecutor(1) as other:
        found = other.submit(switches).result()
    everywhere = {name: _word(value) for name, value in found.items()}
    turned = [
        name
        for name, value in PINNED.items()
        if name in here and {here[name], everywhere[name]} != {value}
    ]
    held = [n for n in turned if here[n] not in (PINNED[n], everywhere[n])]
    refuse_if(
        held,
        f"a `with` block around the program sets {', '.join(held)}, which changes "
        "results that are named alike; call it outside of that block",
    )
    with ExitStack() as back:
        back.enter_context(np.errstate(**_NUMPY))
        # Else half a photograph is read as a whole one, grey from there on.
        back.callback(setattr, ImageFile, _HALVES, getattr(ImageFile, _HALVES))
        setattr(ImageFile, _HALVES, False)
        for name in turned:
            back.callback(partial(_set, name, everywhere[name]))
            _set(name, PINNED[name])
        if turned:
            values = ", ".join(f"{name}={PINNED[name]}" for name in turned[:5])
            more = f" and {len(turned) - 5} more" if len(turned) > 5 else ""
            say(f"[sslx] set for this program, whatever was set before: {values}{more}")
        yield
