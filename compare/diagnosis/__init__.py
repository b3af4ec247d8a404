"""What went wrong, in words: each cause tested against the numbers.

Words
    case          one output of one evaluation: what both sides got, from which inputs, and the rounding bound
    edit          one thing changed in the reference's derivation: a factor, a sign, a term, an axis, a line of a rule.
                  Its name is a key of the table of likelihoods; its complexity says how unlikely it is, in tens for
                  each thing that went wrong
    hypothesis    an edit, or two, and the numbers that the reference would then give, made anew on every case
    residual      what is left of the difference between these numbers and the manual ones, as a fraction of the bound
    explanation   a hypothesis whose residual is at most 1 on every case. The least complex one is named; others that
                  are about as likely are listed as its alternatives
    cause         what is said of it: the edit, where, with which factor, and the residual. A cause that was only
                  observed, as a single element that is off, has no residual: nothing was applied
    diagnosis     the causes of one output, where it differs, and what else is known

Files
    diagnose      an output of a layer or a loss: the sources, in the order in which they are asked
    update_rule   an output of an update rule
    sources       what each source says
    whole/        hypotheses about a result as a whole: own numbers in other places, other inputs, named factors
    graph/        the reference taken apart into its operations, and what a derivation does wrong at each
    rules/        the lines of an update rule, and what goes wrong in one of them
    noise         what is observed: state kept between calls, arrays written in place, another precision
    regions       where a tensor differs
    residual      what is left, the one function
    bisection     the number in the place of a constant that gives the manual numbers
    cause         the structures

Order
    1. what is observed of the manual side alone, and what cannot be told from so loose a bound
    2. one edit: of the whole result; of one operation of the reference; of its inputs; or of the part that differs
    3. one element that is off everywhere, and rounding of a lower precision
    4. the values of a wrong forward pass in the right derivative
    5. two edits of the reference's operations
"""
