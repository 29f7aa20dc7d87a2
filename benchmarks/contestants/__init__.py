"""Who is measured: Isotherm through its public interface alone, and what people would pick instead."""
